/** Of whoever names none. */
export const DEFAULT_NAMES = { project: 'default', environment: 'production' }
