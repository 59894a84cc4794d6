import { createServer } from 'node:https';
import type { IncomingMessage, Server } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { text } from 'node:stream/consumers';
import * as z from 'zod';
import { createAuthority } from '../authority.ts';
import { keyFingerprint, requestedKeyFingerprint } from '../certificate-key.ts';
import type { Authority } from '../authority.ts';
import type { EnrolmentAddress } from '../identity-folder.ts';
import type { Identity } from '../identity.ts';
import { makeJoinToken, pinOf } from '../join-token.ts';
import type { JoinToken } from '../join-token.ts';
import { derOfPem } from '../pem.ts';

export const DOMAIN = 'xylem.internal';

const body = z.object({
  secret: z.string().optional(),
  generation: z.number().optional(),
  role: z.string().optional(),
  leaf: z.string().optional(),
  name: z.string().optional(),
  request: z.string(),
});

/** One request as it came. */
export interface Seen {
  readonly path: string;
  readonly body: z.output<typeof body>;
  /** URI SANs of the client certificate, as Node writes them. */
  readonly client: string;
  /** Fingerprints of the keys of the client certificate, empty without one, and of the request. */
  readonly shownKey: string;
  readonly requestedKey: string;
}

export interface Reply {
  readonly status: number;
  readonly json: unknown;
}

interface Options {
  /** Whose certificate is shown. */
  readonly as?: Identity;
  readonly authority?: Authority;
}

/** Speaks the enrolment protocol, grants everything and remembers it; tests say what else it should do. */
export class EnrolmentStandIn {
  readonly seen: Seen[] = [];
  readonly authority: Authority;
  generation = 1;
  ttlMs = 3_600_000;
  /** What to answer instead; `destroy` closes the connection when everything was read and granted. */
  reply: ((granted: Record<string, unknown>) => Reply | 'destroy') | undefined;
  readonly #server: Server;

  private constructor(authority: Authority, server: Server) {
    this.authority = authority;
    this.#server = server;
  }

  static async start({
    as = { kind: 'registry', registry: 'r1' },
    authority,
  }: Options = {}): Promise<EnrolmentStandIn> {
    const made = authority ?? (await createAuthority({ domain: DOMAIN }));
    const own = await made.issue(as, 3_600_000);
    const server = createServer(
      {
        ca: own.ca,
        cert: `${own.cert}${own.ca}`,
        key: own.key.reveal(),
        requestCert: true,
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
      },
      (request, response) => {
        void standIn.#answer(request).then((reply) => {
          if (reply === 'destroy') return response.destroy();
          const content = typeof reply.json === 'string' ? reply.json : JSON.stringify(reply.json);
          return response.writeHead(reply.status, { connection: 'close' }).end(content);
        });
      },
    );
    const standIn = new EnrolmentStandIn(made, server);
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    return standIn;
  }

  get address(): EnrolmentAddress {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return { host: '127.0.0.1', port: address.port };
  }

  token(): JoinToken {
    return makeJoinToken(derOfPem(this.authority.ca).map((der) => pinOf(der)));
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage): Promise<Reply | 'destroy'> {
    const asked = body.parse(JSON.parse(await text(request)));
    const certificate = (request.socket as TLSSocket).getPeerX509Certificate();
    const client = certificate?.subjectAltName ?? '';
    const spki = certificate?.publicKey.export({ type: 'spki', format: 'der' });
    const shownKey = spki === undefined ? '' : keyFingerprint(spki);
    const requestedKey = await requestedKeyFingerprint(asked.request);
    this.seen.push({ path: request.url ?? '', body: asked, client, shownKey, requestedKey });
    const granted = await this.#grant(asked, client);
    return this.reply?.(granted) ?? { status: 200, json: granted };
  }

  async #grant(asked: Seen['body'], client: string): Promise<Record<string, unknown>> {
    const identity = asked.secret === undefined ? uriPath(client) : joined(asked);
    const signed = await this.authority.sign(identityOf(identity), asked.request, this.ttlMs);
    return {
      identity,
      domain: DOMAIN,
      generation: asked.generation === undefined ? this.generation : asked.generation + 1,
      certificate: signed.cert,
      issuedAtMs: Date.now(),
      notAfterMs: signed.notAfterMs,
      trust: signed.ca,
      trustGeneration: 1,
    };
  }
}

function joined({ role = '', leaf = 'berlin', name = '' }: Seen['body']): string {
  return role === 'agent' ? `leaf/${leaf}/agent/${name}` : `${role}/${name}`;
}

function uriPath(names: string): string {
  return /URI:spiffe:\/\/[^/]+\/([^,]+)/.exec(names)?.[1] ?? '';
}

function identityOf(path: string): Identity {
  const [kind, first = '', , last = ''] = path.split('/');
  if (kind === 'leaf') return { kind: 'agent', leaf: first, agent: last };
  if (kind === 'proxy') return { kind, proxy: first };
  return { kind: 'registry', registry: first };
}
