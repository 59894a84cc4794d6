import * as z from 'zod';

/** One configuration key, derived from the schema: `tunnel.listen` is `XYLEM_TUNNEL_LISTEN` and `--tunnel-listen`. */
export interface ConfigKey {
  readonly path: readonly string[];
  /** `tunnel.listen` */
  readonly name: string;
  /** `XYLEM_TUNNEL_LISTEN` */
  readonly variable: string;
  /** `tunnel-listen` */
  readonly flag: string;
  readonly type: 'string' | 'number' | 'boolean' | 'list' | 'structure';
  readonly description: string;
  /** What --help shows as default; undefined when there is none. */
  readonly fallback: string | undefined;
  readonly required: boolean;
  /** Allowed values of an enumeration. */
  readonly choices: readonly string[];
}

/** The part of JSON Schema that zod makes of a configuration schema. */
interface JsonSchema {
  readonly type?: string | undefined;
  readonly properties?: Readonly<Record<string, JsonSchema>> | undefined;
  readonly required?: readonly string[] | undefined;
  readonly items?: JsonSchema | undefined;
  readonly enum?: readonly unknown[] | undefined;
  readonly const?: unknown;
  readonly anyOf?: readonly JsonSchema[] | undefined;
  readonly oneOf?: readonly JsonSchema[] | undefined;
  readonly default?: unknown;
  readonly description?: string | undefined;
}

const jsonSchema: z.ZodType<JsonSchema> = z.lazy(() =>
  z.object({
    type: z.string().optional(),
    properties: z.record(z.string(), jsonSchema).optional(),
    required: z.array(z.string()).optional(),
    items: jsonSchema.optional(),
    enum: z.array(z.unknown()).optional(),
    const: z.unknown().optional(),
    anyOf: z.array(jsonSchema).optional(),
    oneOf: z.array(jsonSchema).optional(),
    default: z.unknown().optional(),
    description: z.string().optional(),
  }),
);

/** Every key of a schema of nested objects, in the schema's order. */
export function configKeys(schema: z.ZodType): readonly ConfigKey[] {
  const root = jsonSchema.parse(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', reused: 'inline' }));
  return collect(root, [], true);
}

function collect(schema: JsonSchema, path: readonly string[], required: boolean): ConfigKey[] {
  const object = asObject(schema);
  if (object?.properties !== undefined) {
    return Object.entries(object.properties).flatMap(([name, child]) => {
      return collect(child, [...path, name], required && object.required?.includes(name) === true);
    });
  }
  return [
    {
      path,
      name: path.join('.'),
      variable: `XYLEM_${path.map(snakeCase).join('_')}`,
      flag: path.map(kebabCase).join('-'),
      type: typeOf(schema),
      description: schema.description ?? '',
      fallback: schema.default === undefined ? undefined : shown(schema.default),
      required: required && schema.default === undefined,
      choices: (schema.enum ?? (schema.const === undefined ? [] : [schema.const])).map(String),
    },
  ];
}

/** An object with properties; alternatives of objects (a discriminated union) are shown as one with all their keys. */
function asObject(schema: JsonSchema): JsonSchema | undefined {
  if (schema.type === 'object') return schema;
  const variants = schema.anyOf ?? schema.oneOf ?? [];
  if (variants.length === 0 || variants.some((variant) => variant.type !== 'object')) return undefined;
  const properties: Record<string, JsonSchema> = {};
  for (const variant of variants) {
    for (const [name, child] of Object.entries(variant.properties ?? {})) {
      const known = properties[name];
      properties[name] =
        known?.const === undefined || child.const === undefined
          ? (known ?? child)
          : { ...known, const: undefined, enum: [...(known.enum ?? [known.const]), child.const] };
    }
  }
  const required = Object.keys(properties).filter((name) =>
    variants.every((variant) => variant.required?.includes(name)),
  );
  return { type: 'object', properties, required };
}

function typeOf(schema: JsonSchema): ConfigKey['type'] {
  switch (schema.type) {
    case 'number':
    case 'integer':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'array':
      return schema.items?.type === 'object' ? 'structure' : 'list';
    case 'object':
      return 'structure';
    default:
      return 'string';
  }
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join(',');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function snakeCase(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();
}

function kebabCase(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase();
}
