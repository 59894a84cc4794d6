/**
 * A dial of this node asks for no node of the leaf cluster: the agent answers it itself, without a grant, and sends back the one small
 * message that it gets (docs/PROTOCOL.md, "Probes"). No name of a node may begin with an underscore.
 */
export const PROBE_NODE = '_probe';

/** The greatest payload of a probe. */
export const MAX_PROBE_BYTES = 256;
