import type { TLSSocket } from 'node:tls';
import * as z from 'zod';
import { isName } from '@xylem/identity';
import type { Enrolled, Enrolments, ShownCertificate } from '../authority/enrolments.ts';
import type { Intermediates } from '../authority/intermediates.ts';
import { EnrolmentProblem } from './problem.ts';

/** One request, read whole. */
export interface EnrolmentRequest {
  /** Source address, without the port. */
  readonly address: string;
  /** Parsed JSON of a POST; undefined for a GET. */
  readonly body: unknown;
  /** The verified client certificate. Throws an EnrolmentProblem without one. */
  readonly shown: () => ShownCertificate;
  /** The connection, for what binds an answer to it. */
  readonly socket: TLSSocket;
}

/** One way to call the listener. */
export interface EnrolmentRoute {
  readonly method: 'GET' | 'POST';
  /** `/v1/join` */
  readonly path: string;
  /** Whether only who shows a certificate of the domain is answered. Default false. */
  readonly needsCertificate?: boolean;
  /**
   * What is answered with 200, as JSON. Rejects with an EnrolmentProblem, an AuthorityError or a StoreDownError; anything
   * else is an error of ours and hidden.
   */
  readonly handle: (request: EnrolmentRequest) => Promise<object>;
}

const MAX_REQUEST_TEXT = 6_000;
const SECRET = /^[A-Za-z0-9_-]{43}$/;

const name = z.string().refine(isName);
const certificateRequest = z.string().min(1).max(MAX_REQUEST_TEXT);

const joinBody = z
  .strictObject({
    secret: z.string().regex(SECRET),
    role: z.enum(['agent', 'proxy', 'registry']),
    leaf: name.optional(),
    name,
    request: certificateRequest,
  })
  .refine(({ role, leaf }) => role === 'agent' || leaf === undefined);

const renewBody = z.strictObject({ generation: z.int().nonnegative(), request: certificateRequest });

const intermediateBody = z.strictObject({ request: certificateRequest });

const JOIN_SHAPE =
  'send {"secret", "role": "agent" | "proxy" | "registry", "leaf" (agents), "name", "request"} and nothing else';
const RENEW_SHAPE = 'send {"generation", "request"} and nothing else';

export interface RouteParts {
  readonly domain: string;
  readonly enrolments: Enrolments;
  readonly intermediates: Intermediates;
}

/** Joins, renewals, and intermediates for other registries: docs/PROTOCOL.md, "Enrolment". */
export function enrolmentRoutes({ domain, enrolments, intermediates }: RouteParts): readonly EnrolmentRoute[] {
  return [
    {
      method: 'POST',
      path: '/v1/join',
      handle: async ({ body, address }) => {
        const asked = parseBody(joinBody, body, JOIN_SHAPE);
        return answerOf(await enrolments.join({ ...asked, leaf: asked.leaf }, address), domain);
      },
    },
    {
      method: 'POST',
      path: '/v1/renew',
      needsCertificate: true,
      handle: async ({ body, address, shown }) => {
        const certificate = shown();
        const { generation, request } = parseBody(renewBody, body, RENEW_SHAPE);
        return answerOf(await enrolments.renew(certificate, generation, request, address), domain);
      },
    },
    {
      method: 'POST',
      path: '/v1/intermediate',
      needsCertificate: true,
      handle: async ({ body, address, shown }) => {
        const certificate = shown();
        const { request } = parseBody(intermediateBody, body, 'send {"request"} and nothing else');
        return intermediates.sign(certificate, request, address);
      },
    },
  ];
}

/** Throws an EnrolmentProblem that says what the body should be, and nothing of what it is. */
export function parseBody<Schema extends z.ZodType>(schema: Schema, body: unknown, shape: string): z.output<Schema> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const keys = new Set(parsed.error.issues.map(({ path }) => path[0]).filter((key) => typeof key === 'string'));
  const known = [...keys].filter((key) => /^[a-z]{1,20}$/i.test(key)).sort();
  const which = known.length === 0 ? 'the body' : known.join(', ');
  throw new EnrolmentProblem(400, 'invalid', `${which} cannot be used`, shape);
}

/** What goes back to who joined or renewed. */
export function answerOf({ identity, generation, certificate, trustGeneration }: Enrolled, domain: string): object {
  return {
    identity,
    domain,
    generation,
    certificate: certificate.cert,
    issuedAtMs: certificate.issuedAtMs,
    notAfterMs: certificate.notAfterMs,
    trust: certificate.ca,
    trustGeneration,
  };
}
