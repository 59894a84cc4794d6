import { X509Certificate } from 'node:crypto';
import { realpathSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { dirname } from 'node:path';
import { chainVerifier } from './chain-verifier.ts';
import type { ChainVerifier } from './chain-verifier.ts';
import { KeyFileError, readCertificateFile, readKeyFile } from './key-file.ts';
import { readStable, verifiedMaterial } from './tls-material.ts';
import type { TlsFiles, TlsMaterial, VerifiedMaterial } from './tls-material.ts';

/** Credentials that may be renewed while in use. Same shape as the type that @xylem/grpc takes. */
export interface TlsSource {
  current(): TlsMaterial;
  /** Calls back after each renewal; returns the way to stop. */
  onChange(listener: (material: TlsMaterial) => void): () => void;
  /** Against the trust of `current()`. */
  readonly verify: ChainVerifier;
}

export interface FileTlsOptions {
  /** Told once per new kind of trouble; the last good material stays in use meanwhile. Default: ignored. */
  readonly onProblem?: (problem: KeyFileError) => void;
  /** Told after each successful renewal with the new certificate's end of validity. */
  readonly onReload?: (notAfterMs: number) => void;
  /** How often the files are looked at when the file system reports nothing. Default 10_000. */
  readonly pollIntervalMs?: number;
}

export interface FileTlsSource extends TlsSource {
  /** End of validity of the certificate in use, milliseconds since 1970. */
  notAfterMs(): number;
  /** Looks at the files now. Returns true when new material is in use. */
  reload(): boolean;
  /** Stops watching. Idempotent. */
  close(): void;
}

const POLL_INTERVAL_MS = 10_000;
/** Renewal writes several files: look once they have been quiet for this long. */
const SETTLE_MS = 50;

/** Material that only changes when `replace` is called. */
export function memoryTlsSource(material: TlsMaterial): TlsSource & { replace(material: TlsMaterial): void } {
  let current = verifiedMaterial(material, { ca: 'ca', cert: 'cert', key: 'key' }).material;
  const listeners = new Set<(material: TlsMaterial) => void>();
  return {
    current: () => current,
    verify: chainVerifier(() => current),
    onChange: (listener) => subscribe(listeners, listener),
    replace(next) {
      current = verifiedMaterial(next, { ca: 'ca', cert: 'cert', key: 'key' }).material;
      for (const listener of [...listeners]) listener(current);
    },
  };
}

/**
 * Material kept in three PEM files, taken up again when they change. The switch is atomic: as long as certificate and
 * key do not belong together, or a file is broken, the last good material stays. Throws a KeyFileError at once when the
 * files are unusable at the start.
 */
export function fileTlsSource(files: TlsFiles, options: FileTlsOptions = {}): FileTlsSource {
  let loaded = load(files);
  let lastProblem = '';
  let settle: NodeJS.Timeout | undefined;
  const listeners = new Set<(material: TlsMaterial) => void>();

  const reload = (): boolean => {
    let next: VerifiedMaterial;
    try {
      next = load(files);
    } catch (error) {
      if (!(error instanceof KeyFileError)) throw error;
      if (error.message !== lastProblem) options.onProblem?.(error);
      lastProblem = error.message;
      return false;
    }
    lastProblem = '';
    if (sameMaterial(next.material, loaded.material)) return false;
    loaded = next;
    for (const listener of [...listeners]) listener(next.material);
    options.onReload?.(next.notAfterMs);
    return true;
  };
  const changed = (): void => {
    clearTimeout(settle);
    settle = setTimeout(reload, SETTLE_MS).unref();
  };
  const watchers = watchDirectories(files, changed);
  const poll = setInterval(reload, options.pollIntervalMs ?? POLL_INTERVAL_MS).unref();

  return {
    current: () => loaded.material,
    verify: chainVerifier(() => loaded.material),
    notAfterMs: () => loaded.notAfterMs,
    onChange: (listener) => subscribe(listeners, listener),
    reload,
    close() {
      clearInterval(poll);
      clearTimeout(settle);
      for (const watcher of watchers) watcher.close();
    },
  };
}

/**
 * Whether an authority in `ca` signed a certificate in `cert`. Where none did, everybody who trusts the same authorities
 * refuses this process, and says no more than that the connection was closed.
 */
export function isSignedByOwn({ ca, cert }: Pick<TlsMaterial, 'ca' | 'cert'>): boolean {
  const authorities = certificatesIn(ca);
  return certificatesIn(cert).some((certificate) => authorities.some(({ publicKey }) => certificate.verify(publicKey)));
}

function certificatesIn(text: string): X509Certificate[] {
  return (text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (pem) => new X509Certificate(pem),
  );
}

/** An identity folder switches its three files at once, by a link: they are read again when that happened meanwhile. */
function load(files: TlsFiles): VerifiedMaterial {
  return readStable(
    () => [files.ca, files.cert, files.key].map(realPath).join('\n'),
    () => {
      const ca = readCertificateFile(files.ca);
      const cert = readCertificateFile(files.cert);
      return verifiedMaterial({ ca, cert, key: readKeyFile(files.key) }, files);
    },
  );
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return '';
  }
}

function sameMaterial(a: TlsMaterial, b: TlsMaterial): boolean {
  return a.ca === b.ca && a.cert === b.cert && a.key === b.key;
}

function subscribe<T>(listeners: Set<(value: T) => void>, listener: (value: T) => void): () => void {
  // A wrapper of its own, so that one function subscribed twice is called twice and stopped separately.
  const entry = (value: T): void => listener(value);
  listeners.add(entry);
  return () => void listeners.delete(entry);
}

/** Directories, not files: renewal replaces files, and a watch on a file ends with the inode. Polling covers failures. */
function watchDirectories(files: TlsFiles, changed: () => void): FSWatcher[] {
  const directories = new Set([files.ca, files.cert, files.key].map((path) => dirname(path)));
  const watchers: FSWatcher[] = [];
  for (const directory of directories) {
    try {
      const watcher = watch(directory, { persistent: false }, changed);
      watcher.on('error', () => watcher.close());
      watchers.push(watcher);
    } catch {
      // No watches left or none on this file system: polling alone serves.
    }
  }
  return watchers;
}
