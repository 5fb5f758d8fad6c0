import type { CpuClass } from '../../domain/service-config.ts'

/**
 * What a CPU class means on one host. `cores` is a hard quota, `weight` the share when cores are contended (100 = ordinary).
 * shared: may burst up to its cores, yields to performance instances under contention. performance-1x: one core that is its own in practice.
 */
export const CPU_CLASSES = {
  'shared-1x': { cores: 1, weight: 100 },
  'shared-2x': { cores: 2, weight: 200 },
  'performance-1x': { cores: 1, weight: 800 },
} as const satisfies Record<CpuClass, { readonly cores: number; readonly weight: number }>
