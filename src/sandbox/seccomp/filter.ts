import {
  allow,
  encode,
  fail,
  type Instruction,
  loadArchitecture,
  loadArgument,
  loadNumber,
  whenAnyBit,
  whenAtLeast,
  whenEqual,
} from './bpf.ts'
import { ARCHITECTURES, DENIED, type FilteredArchitecture, INSPECTED, UNKNOWN } from './system-calls.ts'

const EPERM = 1
const ENOSYS = 38

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: inside a new user name space everybody is root. */
const NAME_SPACES = 0x7e020000
/** CLONE_NEWTIME; `clone` has the signal of its child in these bits. */
const TIME_NAME_SPACE = 0x80
/** Puts characters into a terminal's input, as if they had been typed. */
const TIOCSTI = 0x5412
const TIOCLINUX = 0x541c
/** Leads past every network name space, to the hypervisor. */
const AF_VSOCK = 40
/** x86_64 knows each call twice; the second numbers begin here. */
const X32_BIT = 0x40000000

/** The program for programs of that machine, and for its 32-bit ones where they are usual. Everything else has no system call at all. */
export function systemCallFilter(machine: FilteredArchitecture): readonly Instruction[] {
  const own = ARCHITECTURES[machine]
  const compatible = own.compatible === null ? null : ARCHITECTURES[own.compatible]
  return [
    loadArchitecture,
    ...whenEqual(own.audit, rulesOf(own.index)),
    ...(compatible === null ? [] : whenEqual(compatible.audit, rulesOf(compatible.index))),
    fail(ENOSYS),
  ]
}

export function encodedFilter(machine: FilteredArchitecture): Buffer {
  return encode(systemCallFilter(machine))
}

export function hasFilter(machine: string): machine is FilteredArchitecture {
  return machine === 'x64' || machine === 'arm64'
}

function rulesOf(index: 0 | 1 | 2): readonly Instruction[] {
  const numbersOf = (calls: typeof DENIED) => Object.values(calls).flatMap((numbers) => numbers[index] ?? [])
  const on = (call: keyof typeof INSPECTED, then: readonly Instruction[]) => whenEqual(INSPECTED[call][index], [...then, allow])
  return [
    loadNumber,
    ...(index === ARCHITECTURES.x64.index ? whenAtLeast(X32_BIT, [fail(ENOSYS)]) : []),
    ...on('clone', [loadArgument(0), ...whenAnyBit(NAME_SPACES, [fail(EPERM)])]),
    ...on('unshare', [loadArgument(0), ...whenAnyBit(NAME_SPACES | TIME_NAME_SPACE, [fail(EPERM)])]),
    ...on('ioctl', [loadArgument(1), ...whenEqual(TIOCSTI, [fail(EPERM)]), ...whenEqual(TIOCLINUX, [fail(EPERM)])]),
    ...on('socket', [loadArgument(0), ...whenEqual(AF_VSOCK, [fail(EPERM)])]),
    ...numbersOf(UNKNOWN).flatMap((number) => whenEqual(number, [fail(ENOSYS)])),
    ...numbersOf(DENIED).flatMap((number) => whenEqual(number, [fail(EPERM)])),
    allow,
  ]
}
