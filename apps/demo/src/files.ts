import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority, makePrivateDirectory, writeCertificateFile, writeKeyFile } from '@xylem/identity';
import type { Authority, Identity } from '@xylem/identity';
import { stringify } from 'yaml';

/** The demo's certificates are made at each start and end with it. */
const TTL_MS = 24 * 3_600_000;

/** Folder of everything one part of the deployment has: config.yaml, ca.pem, cert.pem, key.pem, log. */
export interface PartFolder {
  readonly path: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly config: string;
  readonly log: string;
}

/** Writes the deployment's files. Everything is below one private folder. */
export class Files {
  readonly root: string;
  readonly #authority: Authority;
  readonly #seen = new Set<string>();

  private constructor(root: string, authority: Authority) {
    this.root = root;
    this.#authority = authority;
  }

  static async create(root: string, domain: string): Promise<Files> {
    makePrivateDirectory(root);
    return new Files(root, await createAuthority({ domain }));
  }

  /** A part with a certificate of its own. */
  async part(name: string, identity: Identity): Promise<PartFolder> {
    const folder = this.plain(name);
    const issued = await this.#authority.issue(identity, TTL_MS);
    writeCertificateFile(folder.tls.ca, issued.ca);
    writeCertificateFile(folder.tls.cert, issued.cert);
    writeKeyFile(folder.tls.key, issued.key.reveal());
    return folder;
  }

  /** A part without one. */
  plain(name: string): PartFolder {
    const path = join(this.root, name);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const log = join(path, 'log.jsonl');
    // The log of an earlier demo; a process that is started again goes on in its own.
    if (!this.#seen.has(name)) rmSync(log, { force: true });
    this.#seen.add(name);
    return {
      path,
      tls: { ca: join(path, 'ca.pem'), cert: join(path, 'cert.pem'), key: join(path, 'key.pem') },
      config: join(path, 'config.yaml'),
      log,
    };
  }

  writeConfig(folder: PartFolder, config: object): void {
    writeFileSync(folder.config, stringify(config), { mode: 0o600 });
  }

  writeText(name: string, text: string): string {
    const path = join(this.root, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  writeScript(name: string, text: string): string {
    const path = this.writeText(name, text);
    chmodSync(path, 0o700);
    return path;
  }
}
