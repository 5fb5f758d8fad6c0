/** Numbers of a system call: on x86_64, on arm64, and for 32-bit programs on x86. null = there is none. */
type Numbers = readonly [x64: number | null, arm64: number | null, i386: number | null]

/**
 * What no app needs and a kernel's faults have often begun with; Docker's default profile denies the same. Left out on purpose: ptrace and
 * its kin (debuggers; other tenants are out of their reach), personality and memory policies (they change the caller alone).
 */
export const DENIED: Readonly<Record<string, Numbers>> = {
  // Keys of the kernel are kept per user, not per name space.
  add_key: [248, 217, 286],
  keyctl: [250, 219, 288],
  request_key: [249, 218, 287],
  // Programs in the kernel, and its own counters, faults and events.
  bpf: [321, 280, 357],
  perf_event_open: [298, 241, 336],
  userfaultfd: [323, 282, 374],
  fanotify_init: [300, 262, 338],
  lookup_dcookie: [212, 18, 253],
  syslog: [103, 116, 103],
  // Mounts, and opening files past them.
  mount: [165, 40, 21],
  umount: [null, null, 22],
  umount2: [166, 39, 52],
  pivot_root: [155, 41, 217],
  open_tree: [428, 428, 428],
  move_mount: [429, 429, 429],
  fsopen: [430, 430, 430],
  fsconfig: [431, 431, 431],
  fsmount: [432, 432, 432],
  fspick: [433, 433, 433],
  mount_setattr: [442, 442, 442],
  statmount: [457, 457, 457],
  listmount: [458, 458, 458],
  open_by_handle_at: [304, 265, 342],
  name_to_handle_at: [303, 264, 341],
  nfsservctl: [180, 42, 169],
  quotactl: [179, 60, 131],
  quotactl_fd: [443, 443, 443],
  swapon: [167, 224, 87],
  swapoff: [168, 225, 115],
  setns: [308, 268, 346],
  // The machine itself.
  acct: [163, 89, 51],
  reboot: [169, 142, 88],
  kexec_load: [246, 104, 283],
  kexec_file_load: [320, 294, null],
  create_module: [174, null, 127],
  init_module: [175, 105, 128],
  finit_module: [313, 273, 350],
  delete_module: [176, 106, 129],
  query_module: [178, null, 167],
  get_kernel_syms: [177, null, 130],
  clock_settime: [227, 112, 264],
  clock_settime64: [null, null, 404],
  settimeofday: [164, 170, 79],
  stime: [null, null, 25],
  ioperm: [173, null, 101],
  iopl: [172, null, 110],
  // Remains of old kernels.
  sysfs: [139, null, 135],
  _sysctl: [156, null, 149],
  uselib: [134, null, 86],
  ustat: [136, null, 62],
  vm86: [null, null, 166],
  vm86old: [null, null, 113],
}

/** Answered as a kernel without them would: programs then go the old way, which can be looked into. */
export const UNKNOWN: Readonly<Record<string, Numbers>> = {
  // Its flags stand in memory, where a filter can't read them.
  clone3: [435, 435, 435],
  io_uring_setup: [425, 425, 425],
  io_uring_enter: [426, 426, 426],
  io_uring_register: [427, 427, 427],
}

/** Denied by what stands in an argument. */
export const INSPECTED = {
  clone: [56, 220, 120],
  unshare: [272, 97, 310],
  ioctl: [16, 29, 54],
  socket: [41, 198, 359],
} as const satisfies Readonly<Record<string, Numbers>>

/** Index into `Numbers`, and the kernel's name of the architecture (AUDIT_ARCH_…). */
export const ARCHITECTURES = {
  x64: { index: 0, audit: 0xc000003e, compatible: 'ia32' },
  arm64: { index: 1, audit: 0xc00000b7, compatible: null },
  ia32: { index: 2, audit: 0x40000003, compatible: null },
} as const

/** Of Node's names, those that have a filter. */
export type FilteredArchitecture = 'x64' | 'arm64'
