declare const brand: unique symbol;

/**
 * A key: each character is one byte, 0 to 255 (the "latin1" form of its bytes). JavaScript compares strings by code unit,
 * so `<` is etcd's bytewise order; engines keep such strings at one byte per character, and they serve as map keys.
 */
export type Key = string & { readonly [brand]: 'Key' };

/** Whether every character of `text` is one byte. */
export function isKey(text: string): text is Key {
  for (let index = 0; index < text.length; index += 1) {
    if (text.charCodeAt(index) > 0xff) return false;
  }
  return true;
}

/** The key whose bytes are the characters of `text`. Throws when a character is not a byte. */
export function key(text: string): Key {
  if (!isKey(text)) throw new RangeError('a key is given as one character per byte, 0 to 255');
  return text;
}

/** What a range end means that is one zero byte: every key from the start on. */
export const FROM_KEY: Key = key('\0');

/** The range end that makes a range of all keys which begin with `prefix` (etcd clients' convention). */
export function prefixEnd(prefix: Key): Key {
  for (let index = prefix.length - 1; index >= 0; index -= 1) {
    const byte = prefix.charCodeAt(index);
    if (byte < 0xff) return key(prefix.slice(0, index) + String.fromCharCode(byte + 1));
  }
  return FROM_KEY;
}

/** Negative, 0 or positive as `left` is before, equal to or after `right`, bytewise. */
export function compareBytes(left: Uint8Array, right: Uint8Array): number {
  const shared = Math.min(left.length, right.length);
  for (let index = 0; index < shared; index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** Keys that a request names. `to` is exclusive; undefined: without end. */
export type KeyRange =
  | { readonly kind: 'one'; readonly key: Key }
  | { readonly kind: 'span'; readonly from: Key; readonly to: Key | undefined };

/** Reads etcd's pair of fields: no end names one key, an end of one zero byte means "from the key on". */
export function keyRange(start: Key, rangeEnd: Key | undefined): KeyRange {
  if (rangeEnd === undefined || rangeEnd === '') return { kind: 'one', key: start };
  return { kind: 'span', from: start, to: rangeEnd === FROM_KEY ? undefined : rangeEnd };
}

export function contains(range: KeyRange, candidate: Key): boolean {
  if (range.kind === 'one') return range.key === candidate;
  return candidate >= range.from && (range.to === undefined || candidate < range.to);
}
