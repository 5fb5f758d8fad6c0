import { describe, expect, test } from 'vitest'
import type { Instruction } from './bpf.ts'
import { encodedFilter, hasFilter, systemCallFilter } from './filter.ts'
import { ARCHITECTURES, DENIED, type FilteredArchitecture, INSPECTED, UNKNOWN } from './system-calls.ts'

const ALLOWED = 'allowed'
const EPERM = 'errno 1'
const ENOSYS = 'errno 38'

interface Call {
  readonly audit: number
  readonly number: number
  readonly args?: readonly number[]
}

/** What the kernel does with the program: https://www.kernel.org/doc/html/latest/networking/filter.html */
function decide(program: readonly Instruction[], { audit, number, args = [] }: Call): string {
  let accumulator = 0
  for (let at = 0; at < program.length; at++) {
    const { code, jt, jf, k } = program[at] as Instruction
    const jump = (holds: boolean) => {
      at += holds ? jt : jf
    }
    if (code === 0x20) accumulator = k === 0 ? number : k === 4 ? audit : (args[(k - 16) / 8] ?? 0)
    else if (code === 0x05) at += k
    else if (code === 0x15) jump(accumulator === k)
    else if (code === 0x35) jump(accumulator >= k)
    else if (code === 0x45) jump((accumulator & k) !== 0)
    else if (code === 0x06) return k === 0x7fff0000 ? ALLOWED : `errno ${k & 0xffff}`
    else throw new Error(`unknown instruction ${code}`)
  }
  throw new Error('the program does not end')
}

const x64 = ARCHITECTURES.x64.audit
const ia32 = ARCHITECTURES.ia32.audit
const arm64 = ARCHITECTURES.arm64.audit

describe('systemCallFilter', () => {
  test.each<[string, FilteredArchitecture, Call, string]>([
    ['x64 read', 'x64', { audit: x64, number: 0 }, ALLOWED],
    ['x64 execve', 'x64', { audit: x64, number: 59 }, ALLOWED],
    ['x64 ptrace', 'x64', { audit: x64, number: 101 }, ALLOWED],
    ['x64 a call that is not known yet', 'x64', { audit: x64, number: 600 }, ALLOWED],
    ['x64 mount', 'x64', { audit: x64, number: 165 }, EPERM],
    ['x64 keyctl', 'x64', { audit: x64, number: 250 }, EPERM],
    ['x64 bpf', 'x64', { audit: x64, number: 321 }, EPERM],
    ['x64 setns', 'x64', { audit: x64, number: 308 }, EPERM],
    ['x64 clone3, whose flags can not be seen', 'x64', { audit: x64, number: 435 }, ENOSYS],
    ['x64 io_uring_setup', 'x64', { audit: x64, number: 425 }, ENOSYS],
    ['x64 fork as libc does it', 'x64', { audit: x64, number: 56, args: [0x01200011] }, ALLOWED],
    ['x64 a thread as libc makes it', 'x64', { audit: x64, number: 56, args: [0x3d0f00] }, ALLOWED],
    ['x64 clone with a user name space', 'x64', { audit: x64, number: 56, args: [0x10000011] }, EPERM],
    ['x64 clone with a network name space', 'x64', { audit: x64, number: 56, args: [0x40000000] }, EPERM],
    ['x64 unshare of the file table', 'x64', { audit: x64, number: 272, args: [0x400] }, ALLOWED],
    ['x64 unshare of users', 'x64', { audit: x64, number: 272, args: [0x10000000] }, EPERM],
    ['x64 unshare of time', 'x64', { audit: x64, number: 272, args: [0x80] }, EPERM],
    ['x64 TCGETS', 'x64', { audit: x64, number: 16, args: [0, 0x5401] }, ALLOWED],
    ['x64 TIOCSTI', 'x64', { audit: x64, number: 16, args: [0, 0x5412] }, EPERM],
    ['x64 an internet socket', 'x64', { audit: x64, number: 41, args: [2] }, ALLOWED],
    ['x64 a socket to the hypervisor', 'x64', { audit: x64, number: 41, args: [40] }, EPERM],
    ['x64 mount by its x32 number', 'x64', { audit: x64, number: 0x40000000 + 165 }, ENOSYS],
    ['x64 read by its x32 number', 'x64', { audit: x64, number: 0x40000000 }, ENOSYS],
    ['a 32-bit program: exit', 'x64', { audit: ia32, number: 1 }, ALLOWED],
    ['a 32-bit program: the number that is mount for others', 'x64', { audit: ia32, number: 165 }, ALLOWED],
    ['a 32-bit program: mount', 'x64', { audit: ia32, number: 21 }, EPERM],
    ['a 32-bit program: clone with a user name space', 'x64', { audit: ia32, number: 120, args: [0x10000000] }, EPERM],
    ['arm64 read', 'arm64', { audit: arm64, number: 63 }, ALLOWED],
    ['arm64 mount', 'arm64', { audit: arm64, number: 40 }, EPERM],
    ['arm64 clone with a user name space', 'arm64', { audit: arm64, number: 220, args: [0x10000011] }, EPERM],
    ['arm64 a thread', 'arm64', { audit: arm64, number: 220, args: [0x3d0f00] }, ALLOWED],
    ['arm64: a program of another machine', 'arm64', { audit: x64, number: 0 }, ENOSYS],
    ['x64: a program of another machine', 'x64', { audit: arm64, number: 63 }, ENOSYS],
  ])('I10: %s', (_, machine, call, expected) => {
    expect(decide(systemCallFilter(machine), call)).toBe(expected)
  })

  test('I10: every call of the tables is refused on every machine that has it', () => {
    for (const [machine, { index, audit }] of Object.entries(ARCHITECTURES)) {
      const program = systemCallFilter(machine === 'arm64' ? 'arm64' : 'x64')
      for (const [calls, expected] of [[DENIED, EPERM] as const, [UNKNOWN, ENOSYS] as const]) {
        for (const [name, numbers] of Object.entries(calls)) {
          const number = numbers[index]
          if (number !== null) expect(`${name} ${decide(program, { audit, number })}`).toBe(`${name} ${expected}`)
        }
      }
    }
  })

  test('no number stands twice, so that none of the tables says two things', () => {
    for (const { index } of Object.values(ARCHITECTURES)) {
      const numbers = [DENIED, UNKNOWN, INSPECTED].flatMap((calls) => Object.values(calls).flatMap((one) => one[index] ?? []))
      expect(new Set(numbers).size).toBe(numbers.length)
    }
  })

  test('I12: it is within what the kernel takes, and of whole instructions', () => {
    for (const machine of ['x64', 'arm64'] as const) {
      expect(encodedFilter(machine).length % 8).toBe(0)
      expect(encodedFilter(machine).length / 8).toBeLessThan(4096)
    }
    expect(encodedFilter('x64').subarray(0, 8).toString('hex')).toBe('2000000004000000')
  })

  test('other machines have none', () => {
    expect(['x64', 'arm64', 'riscv64', 's390x', 'ia32'].filter((machine) => hasFilter(machine))).toEqual(['x64', 'arm64'])
  })
})
