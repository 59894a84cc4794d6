import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/**
 * Finds serialised FileDescriptorProtos by file name and by symbol, for reflection. Only names are read; field numbers
 * are those of google/protobuf/descriptor.proto.
 */

const FILE = { name: 1, package: 2, dependency: 3, message: 4, enum: 5, service: 6 } as const;
const MESSAGE = { name: 1, nested: 3, enum: 4 } as const;
const SERVICE = { name: 1, method: 2 } as const;
/** `name` of enums, methods and of everything else is field 1. */
const NAME = 1;

interface IndexedFile {
  readonly bytes: Buffer;
  readonly imports: readonly string[];
}

export class DescriptorIndex {
  readonly #files = new Map<string, IndexedFile>();
  readonly #fileOfSymbol = new Map<string, string>();

  /** @param descriptors serialised FileDescriptorProtos in base64, by import name. */
  constructor(descriptors: ReadonlyMap<string, string>) {
    for (const [name, text] of descriptors) {
      const bytes = Buffer.from(text, 'base64');
      const fields = lengthDelimited(bytes);
      const scope = strings(fields, FILE.package)[0] ?? '';
      this.#files.set(name, { bytes, imports: strings(fields, FILE.dependency) });
      for (const symbol of symbolsOf(fields, scope)) this.#fileOfSymbol.set(symbol, name);
    }
  }

  /** Import name of the file that declares a message, enum, service or method (`package.Service.Method`). */
  fileOfSymbol(symbol: string): string | undefined {
    return this.#fileOfSymbol.get(symbol);
  }

  /** The file and, once each, everything it needs; empty when it is not known. */
  withImports(name: string | undefined): readonly Buffer[] {
    const found = new Map<string, Buffer>();
    const queue = name === undefined ? [] : [name];
    for (const next of queue) {
      const file = this.#files.get(next);
      if (file === undefined || found.has(next)) continue;
      found.set(next, file.bytes);
      queue.push(...file.imports);
    }
    return [...found.values()];
  }
}

type Fields = ReadonlyMap<number, readonly Uint8Array[]>;

function lengthDelimited(bytes: Uint8Array): Fields {
  const fields = new Map<number, Uint8Array[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, field);
      continue;
    }
    const values = fields.get(field) ?? [];
    values.push(reader.bytes());
    fields.set(field, values);
  }
  return fields;
}

function strings(fields: Fields, field: number): readonly string[] {
  return (fields.get(field) ?? []).map((value) => Buffer.from(value).toString('utf8'));
}

function children(fields: Fields, field: number): readonly Fields[] {
  return (fields.get(field) ?? []).map(lengthDelimited);
}

function nameIn(scope: string, fields: Fields): string {
  const name = strings(fields, NAME)[0] ?? '';
  return scope === '' ? name : `${scope}.${name}`;
}

function symbolsOf(file: Fields, scope: string): readonly string[] {
  const messages = children(file, FILE.message).flatMap((message) => messageSymbols(message, scope));
  const enums = children(file, FILE.enum).map((entry) => nameIn(scope, entry));
  const services = children(file, FILE.service).flatMap((service) => {
    const name = nameIn(scope, service);
    return [name, ...children(service, SERVICE.method).map((method) => nameIn(name, method))];
  });
  return [...messages, ...enums, ...services];
}

function messageSymbols(message: Fields, scope: string): readonly string[] {
  const name = nameIn(scope, message);
  const nested = children(message, MESSAGE.nested).flatMap((inner) => messageSymbols(inner, name));
  const enums = children(message, MESSAGE.enum).map((entry) => nameIn(name, entry));
  return [name, ...nested, ...enums];
}
