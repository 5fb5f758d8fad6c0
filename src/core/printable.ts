// biome-ignore-all lint/suspicious/noControlCharactersInRegex: control characters are what this looks for

/**
 * Terminal sequences whole: strings (OSC, DCS, APC, PM, SOS) with their end, CSI with its parameters, two-character escapes. A string ends
 * before the beginning of another one, so that no text is looked through twice.
 */
const SEQUENCES =
  /(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u0090\u0098\u009c-\u009f]*(?:\u0007|\u001b\\|\u009c)|(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|\u001b[ -/]*[0-~]/g
/** Control characters but tab, and the marks that turn the direction of text. */
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Halves of characters: JSON has a form for them, PostgreSQL refuses it and the whole batch with it. */
const HALVES = /\p{Surrogate}/gu

/** Foreign text made harmless for logs and terminals: escape sequences go, other control and direction characters become `�` (I9). */
export function printable(text: string): string {
  return text.replace(SEQUENCES, '').replace(CONTROL, '\ufffd').replace(HALVES, '\ufffd')
}
