import { z } from 'zod'
import { text, timestamp } from './primitives.ts'

const keyName = z.string().meta({ description: 'Names a key; tells nothing of it.' })

/** What is known of the keys that secrets in the database are sealed with. */
export const SealingKeys = z
  .strictObject({
    source: z.enum(['file', 'setting']),
    current: keyName,
    remaining: z.number().int().meta({ description: 'Values that are not sealed with the current key yet.' }),
    keys: z.array(
      z.strictObject({
        id: keyName,
        state: z.enum(['active', 'retiring', 'retired']),
        changedAt: timestamp,
        isHere: z.boolean().meta({ description: 'Whether this server still has it.' }),
      }),
    ),
  })
  .meta({ id: 'SealingKeys' })
export type SealingKeys = z.infer<typeof SealingKeys>

/** A host of git repositories, as in their addresses: `github.com`, `git.example.org:2222`. */
export const gitHost = z
  .string()
  .max(260)
  .regex(/^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/, 'is not host or host:port')
  .transform((host) => host.toLowerCase())

export const HostKey = z
  .strictObject({
    type: z.string(),
    fingerprint: z.string().meta({ description: 'SHA256:… as ssh shows it; compare it with what the host publishes.' }),
    line: z.string().meta({ description: 'A line of a known_hosts file.' }),
  })
  .meta({ id: 'HostKey' })

export const DeployKey = z
  .strictObject({
    project: z.string(),
    service: z.string(),
    publicKey: z.string().meta({ description: 'To be added at the git host as a read-only deploy key.' }),
    fingerprint: z.string(),
    createdAt: timestamp,
    host: z
      .string()
      .nullable()
      .meta({ description: 'ssh host of the service’s repository; null while it has none, or environments differ.' }),
    hostKeys: z.array(HostKey).meta({ description: 'The only keys that a host may show. Without one for the host nothing is fetched.' }),
  })
  .meta({ id: 'DeployKey', description: 'The private part is never told.' })
export type DeployKey = z.infer<typeof DeployKey>

const HOST_KEYS_MAX = 16
export const PinHostKeys = z
  .strictObject({
    lines: z
      .array(text(16_384).regex(/^[!-~]+ [!-~]+ [!-~]+$/, 'is not `host type key`'))
      .max(HOST_KEYS_MAX)
      .meta({ description: 'Lines of a known_hosts file, in place of those before; none = unpin.' }),
  })
  .meta({ id: 'PinHostKeys' })

export const SeenHostKeys = z.strictObject({ host: z.string(), keys: z.array(HostKey) }).meta({ id: 'SeenHostKeys' })

const TOKEN_MAX = 4096
export const SetGitToken = z
  .strictObject({
    username: text(200)
      .regex(/^[^:]*$/, 'holds a colon')
      .optional()
      .meta({ description: 'Left out: what the host expects beside a token.' }),
    token: z
      .string()
      .min(1)
      .max(TOKEN_MAX)
      .regex(/^[!-~]+$/, 'holds characters other than printable ASCII without spaces'),
  })
  .meta({ id: 'SetGitToken' })

export const GitToken = z
  .strictObject({
    project: z.string(),
    host: z.string(),
    username: z.string(),
    fingerprint: z.string().nullable(),
    setBy: z.string().nullable(),
    updatedAt: timestamp,
  })
  .meta({ id: 'GitToken', description: 'The token is never told.' })
export type GitToken = z.infer<typeof GitToken>
