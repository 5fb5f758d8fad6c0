/** A long-lived part. Tolerates stop without start, and stop twice (river's startstop). */
export interface Service {
  start(): Promise<void>
  stop(): Promise<void>
}
