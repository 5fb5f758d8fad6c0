/**
 * Classic BPF, as seccomp(2) takes it: https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html. Only what a filter of
 * system calls needs. Jumps go forward, so every program ends.
 */
export interface Instruction {
  readonly code: number
  /** Instructions to skip when the comparison holds, and when it does not. */
  readonly jt: number
  readonly jf: number
  readonly k: number
}

const LOAD_WORD = 0x20
const JUMP = 0x05
const JUMP_EQUAL = 0x15
const JUMP_GREATER_EQUAL = 0x35
const JUMP_ANY_BIT = 0x45
const RETURN = 0x06

const ALLOW = 0x7fff0000
const FAIL = 0x00050000

/** Offsets in `struct seccomp_data`. */
const NUMBER_AT = 0
const ARCHITECTURE_AT = 4
const ARGUMENTS_AT = 16

export const loadNumber: Instruction = { code: LOAD_WORD, jt: 0, jf: 0, k: NUMBER_AT }
export const loadArchitecture: Instruction = { code: LOAD_WORD, jt: 0, jf: 0, k: ARCHITECTURE_AT }
export const allow: Instruction = { code: RETURN, jt: 0, jf: 0, k: ALLOW }

/** The call returns -1 with that errno, and nothing happened. */
export function fail(errno: number): Instruction {
  return { code: RETURN, jt: 0, jf: 0, k: FAIL | errno }
}

/** The low 32 bits of an argument, on little-endian machines; flags and commands have no others. */
export function loadArgument(index: number): Instruction {
  return { code: LOAD_WORD, jt: 0, jf: 0, k: ARGUMENTS_AT + 8 * index }
}

export function whenEqual(k: number, then: readonly Instruction[]): readonly Instruction[] {
  return when(JUMP_EQUAL, k, then)
}

export function whenAtLeast(k: number, then: readonly Instruction[]): readonly Instruction[] {
  return when(JUMP_GREATER_EQUAL, k, then)
}

export function whenAnyBit(k: number, then: readonly Instruction[]): readonly Instruction[] {
  return when(JUMP_ANY_BIT, k, then)
}

/** What is compared fits into 8 bits of distance or goes by a long jump. */
function when(code: number, k: number, then: readonly Instruction[]): readonly Instruction[] {
  if (then.length <= 0xff) return [{ code, jt: 0, jf: then.length, k }, ...then]
  return [{ code, jt: 1, jf: 0, k }, { code: JUMP, jt: 0, jf: 0, k: then.length }, ...then]
}

/** As the kernel reads it: `struct sock_filter` one after the other, little-endian. */
export function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8)
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8)
    bytes.writeUInt8(jt, index * 8 + 2)
    bytes.writeUInt8(jf, index * 8 + 3)
    bytes.writeUInt32LE(k, index * 8 + 4)
  }
  return bytes
}
