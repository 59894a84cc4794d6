import { plainText } from '@xylem/carrier';
import { isName } from '@xylem/discovery';
import type { AgentId, InstanceNonce, LeafId, TunnelId } from '@xylem/discovery';
import type { Identity } from '@xylem/identity';
import type { OfferedNode } from '@xylem/tunnel';
import { carry } from '@xylem/wire';
import type { tunnel as wire } from '@xylem/wire';

/** Versions of the tunnel protocol that this build speaks. */
const PROTOCOL = { lowest: 1, highest: 1 } as const;

/** Bounds of what an agent may say about itself, each far above honest use. */
const MAX_NODES = 4_096;
const MAX_PORTS_PER_NODE = 64;
const MAX_TEXT = 128;
const MAX_TRACEPARENT = 64;
const TOKEN = /^[A-Za-z0-9._-]{1,64}$/;

/** A hello that names exactly what the certificate allows. */
export interface AcceptedHello {
  readonly version: number;
  readonly leaf: LeafId;
  readonly agent: AgentId;
  readonly nonce: InstanceNonce;
  readonly tunnel: TunnelId;
  readonly replaces: TunnelId | undefined;
  readonly nodes: readonly OfferedNode[];
  readonly software: string;
  readonly traceparent: string;
}

export interface RefusedHello {
  readonly reason: carry.Reason;
  /** One line for a person; what came from the agent is quoted. */
  readonly detail: string;
}

export type HelloCheck =
  | { readonly ok: true; readonly hello: AcceptedHello }
  | { readonly ok: false; readonly refusal: RefusedHello };

/**
 * Checks a hello against the identity of the verified certificate. The message never adds to the identity: a leaf or
 * agent other than the certificate's is refused, so that an agent can only ever name itself.
 *
 * @param self Own id, to tell an agent that a steered attempt ended up at the wrong root proxy.
 */
export function checkHello(
  hello: wire.AgentHello,
  identity: Extract<Identity, { kind: 'agent' }>,
  self: string,
): HelloCheck {
  const version = Math.min(hello.maxVersion, PROTOCOL.highest);
  if (version < hello.minVersion || version < PROTOCOL.lowest) {
    const detail = `the agent speaks versions ${hello.minVersion} to ${hello.maxVersion}, this root proxy ${PROTOCOL.lowest} to ${PROTOCOL.highest}`;
    return refuse(carry.Reason.REASON_VERSION, detail);
  }
  if (hello.leaf !== identity.leaf || hello.agent !== identity.agent) {
    const claimed = `${quote(hello.leaf)}/${quote(hello.agent)}`;
    return refuse(
      carry.Reason.REASON_DENIED,
      `the certificate is that of agent ${identity.leaf}/${identity.agent}, the hello names ${claimed}`,
    );
  }
  const problem = malformed(hello, self);
  if (problem !== undefined) return refuse(carry.Reason.REASON_PROTOCOL_ERROR, problem);
  return { ok: true, hello: accepted(hello, version) };
}

function malformed(hello: wire.AgentHello, self: string): string | undefined {
  if (!isName(hello.leaf) || !isName(hello.agent)) return 'leaf and agent must be DNS labels';
  if (!TOKEN.test(hello.instanceNonce)) return 'instance_nonce must be 1 to 64 of A-Z a-z 0-9 . _ -';
  if (!TOKEN.test(hello.tunnelId)) return 'tunnel_id must be 1 to 64 of A-Z a-z 0-9 . _ -';
  if (hello.replacesTunnelId !== '' && !TOKEN.test(hello.replacesTunnelId))
    return 'replaces_tunnel_id is not a tunnel id';
  if (hello.replacesTunnelId === hello.tunnelId) return 'a tunnel cannot replace itself';
  if (hello.wantedProxy !== '' && hello.wantedProxy !== self)
    return `${quote(hello.wantedProxy)} was wanted, this is root proxy ${self}`;
  return malformedNodes(hello.nodes);
}

function malformedNodes(nodes: readonly wire.Node[]): string | undefined {
  if (nodes.length > MAX_NODES) return `${nodes.length} nodes are offered, the limit is ${MAX_NODES}`;
  const names = new Set<string>();
  for (const { name, ports } of nodes) {
    if (!isName(name)) return `${quote(name)} cannot name a node: 1 to 63 of a-z, 0-9 and "-"`;
    if (names.has(name)) return `node ${name} is offered twice`;
    names.add(name);
    if (ports.length === 0 || ports.length > MAX_PORTS_PER_NODE)
      return `node ${name} offers ${ports.length} ports, 1 to ${MAX_PORTS_PER_NODE} can be`;
    const stray = ports.find((port) => port < 1 || port > 65_535);
    if (stray !== undefined) return `node ${name} offers port ${stray}, which is not within 1 to 65535`;
  }
  return undefined;
}

function accepted(hello: wire.AgentHello, version: number): AcceptedHello {
  return {
    version,
    leaf: hello.leaf as LeafId,
    agent: hello.agent as AgentId,
    nonce: hello.instanceNonce as InstanceNonce,
    tunnel: tunnelName(hello, hello.tunnelId),
    replaces: hello.replacesTunnelId === '' ? undefined : tunnelName(hello, hello.replacesTunnelId),
    nodes: hello.nodes.map(({ name, ports }) => ({ name, ports: [...ports] })),
    software: plainText(hello.software, MAX_TEXT),
    traceparent: hello.traceparent.length > MAX_TRACEPARENT ? '' : hello.traceparent,
  };
}

/** The agent's own name of a tunnel is unique within its instance; here it has to be among all agents. */
function tunnelName(hello: wire.AgentHello, tunnelId: string): TunnelId {
  return `${hello.leaf}/${hello.agent}/${hello.instanceNonce}/${tunnelId}` as TunnelId;
}

function refuse(reason: carry.Reason, detail: string): HelloCheck {
  return { ok: false, refusal: { reason, detail } };
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, MAX_TEXT));
}
