/** Text as it may stand between tags and inside a quoted attribute. */
export function escapeHtml(text: string): string {
  // Control characters have no place in a document; a person should still see that there was one.
  const visible = text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f]/g, '\u{fffd}');
  return visible
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** Where an instant is, as a share of the width: `12.345%`. */
export type Place = (ms: number) => number;

export function percent(share: number): string {
  return `${(share * 100).toFixed(4)}%`;
}

/** A moment for a person: `12.345 s`. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`;
}

/** An element with its tooltip, which screen readers read as its name. */
export function titled(open: string, tag: string, title: string): string {
  return `<${open}><title>${escapeHtml(title)}</title></${tag}>`;
}
