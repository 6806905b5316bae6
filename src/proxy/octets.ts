/** Tables of octets by the grammar of RFC 9110 and 9112: 1 where the octet is allowed. */

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** Method and field names. */
export const isToken = tableOf(`!#$%&'*+-.^_\`|~${alphanumeric}`);

/** Host and port, IPv6 literals and percent-encoding included. */
export const isHostText = tableOf(`-._~!$&'()*+,;=:[]%${alphanumeric}`);

/** Field values: visible, blank, tab, and the upper half, which is opaque. */
export const isFieldText = rangeTable((octet) => octet === 9 || (octet >= 32 && octet !== 127));

/** Request targets: visible ASCII; `#` never travels. */
export const isTargetText = rangeTable((octet) => octet > 32 && octet < 127 && octet !== 35);

function tableOf(allowed: string): Uint8Array {
  return rangeTable((octet) => octet > 0 && allowed.includes(String.fromCharCode(octet)));
}

function rangeTable(isAllowed: (octet: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, octet) => (isAllowed(octet) ? 1 : 0));
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Whether `expected` (lower-case) stands at `start`. Only for octets that passed a table. */
export function equalsIgnoringCase(
  bytes: Uint8Array,
  start: number,
  expected: Uint8Array,
): boolean {
  for (let i = 0; i < expected.length; i += 1) {
    // Bit 5 turns upper into lower case, and leaves digits and the hyphen as they are.
    if (((bytes[start + i] ?? 0) | 0x20) !== expected[i]) return false;
  }
  return true;
}
