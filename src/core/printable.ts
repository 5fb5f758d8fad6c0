// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const ESCAPE_SEQUENCE =
  /[\u001b\u009b](?:\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[[\]()#;?]*(?:\d{1,4}(?:[;:]\d{0,4})*)?[\dA-PR-TZcf-nq-uy=><~])/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above; tab stays
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Foreign text made harmless for logs and terminals: escape sequences go, other control and direction characters become `�` (I9). */
export function printable(text: string): string {
  return text.replace(ESCAPE_SEQUENCE, '').replace(CONTROL, '\ufffd')
}
