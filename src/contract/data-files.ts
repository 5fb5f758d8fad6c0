/** Files of the data directory that a client on the same machine may read. */
export const DATA_FILES = {
  /** 0600; `Authorization: Bearer <its content>`. */
  adminToken: 'admin-token',
  /** Where the API of the running server answers; gone when it has stopped in order. */
  apiUrl: 'api-url',
  /** stdout and stderr of a server that the CLI started in the background. */
  serverLog: 'server.log',
} as const
