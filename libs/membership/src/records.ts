import type { AgentId, InstanceNonce } from './ids.ts';
import { isAgentId, isInstanceNonce } from './ids.ts';

/** Value of a member key: what a root proxy says of itself. */
export interface MemberRecord {
  readonly nonce: InstanceNonce;
  readonly peerAddress: string;
  readonly tunnelAddress: string;
  readonly generation: number;
  readonly software: string;
  readonly draining: boolean;
  /** Epoch of the store when the key was created: half of the incarnation. */
  readonly epoch: bigint;
}

/** Value of a session key: who attends a root proxy. */
export interface SessionRecord {
  readonly registry: string;
  /** Random, made when the replica's process started. */
  readonly boot: string;
  /** The replica's name of the session. */
  readonly session: string;
  readonly nonce: InstanceNonce;
  /** The root proxy's address as the replica's socket saw it. */
  readonly address: string;
  /** When the session began, for people. */
  readonly since: string;
}

/** Value of a claim key. */
export interface ClaimRecord {
  readonly agent: AgentId;
  /** Unique to one grant: decides whose a claim is after an unknown outcome. */
  readonly nonce: string;
  /** Incarnation of the root proxy that granted it. */
  readonly incarnation: bigint;
  /** Epoch of the store when the key was created: half of the fencing token. */
  readonly epoch: bigint;
}

/** Records are JSON so that `etcdctl get --prefix /xylem` reads well. 64-bit numbers are text, as in protobuf's JSON. */
export function encodeRecord(record: MemberRecord | SessionRecord | ClaimRecord): string {
  return JSON.stringify(record, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
}

/** undefined for anything that is not a member record; unknown fields are passed over, for newer replicas. */
export function decodeMember(text: string): MemberRecord | undefined {
  const fields = decodeObject(text);
  const nonce = textField(fields, 'nonce');
  const peerAddress = textField(fields, 'peerAddress');
  const tunnelAddress = textField(fields, 'tunnelAddress');
  const generation = fields?.['generation'];
  const software = textField(fields, 'software');
  const draining = fields?.['draining'];
  const epoch = bigField(fields, 'epoch');
  if (nonce === undefined || !isInstanceNonce(nonce) || epoch === undefined) return undefined;
  if (peerAddress === undefined || tunnelAddress === undefined || software === undefined) return undefined;
  if (typeof generation !== 'number' || typeof draining !== 'boolean') return undefined;
  return { nonce, peerAddress, tunnelAddress, generation, software, draining, epoch };
}

export function decodeSession(text: string): SessionRecord | undefined {
  const fields = decodeObject(text);
  const registry = textField(fields, 'registry');
  const boot = textField(fields, 'boot');
  const session = textField(fields, 'session');
  const nonce = textField(fields, 'nonce');
  const address = textField(fields, 'address');
  const since = textField(fields, 'since');
  if (registry === undefined || boot === undefined || session === undefined) return undefined;
  if (nonce === undefined || !isInstanceNonce(nonce) || address === undefined || since === undefined) return undefined;
  return { registry, boot, session, nonce, address, since };
}

export function decodeClaim(text: string): ClaimRecord | undefined {
  const fields = decodeObject(text);
  const agent = textField(fields, 'agent');
  const nonce = textField(fields, 'nonce');
  const incarnation = bigField(fields, 'incarnation');
  const epoch = bigField(fields, 'epoch');
  if (agent === undefined || !isAgentId(agent) || nonce === undefined) return undefined;
  if (incarnation === undefined || epoch === undefined) return undefined;
  return { agent, nonce, incarnation, epoch };
}

export function encodeEpoch(epoch: bigint): string {
  return epoch.toString();
}

/** undefined for anything but a decimal number. */
export function decodeEpoch(text: string): bigint | undefined {
  return decimal(text);
}

type Fields = Readonly<Record<string, unknown>>;

function decodeObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textField(fields: Fields | undefined, name: string): string | undefined {
  const value = fields?.[name];
  return typeof value === 'string' ? value : undefined;
}

function bigField(fields: Fields | undefined, name: string): bigint | undefined {
  return decimal(textField(fields, name) ?? '');
}

function decimal(text: string): bigint | undefined {
  return /^[0-9]{1,20}$/.test(text) ? BigInt(text) : undefined;
}
