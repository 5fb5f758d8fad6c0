import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto'

export interface SshKeyPair {
  /** A line for `authorized_keys`, or for the deploy keys of a git host. */
  readonly publicKey: string
  /** The text of an OpenSSH private key file. A secret. */
  readonly privateKey: string
  /** As ssh shows it. */
  readonly fingerprint: string
}

const TYPE = 'ssh-ed25519'
const BLOCK_BYTES = 8

/** A fresh ed25519 key without a passphrase, in the formats of OpenSSH (PROTOCOL.key of its sources). */
export function createSshKey(comment: string): SshKeyPair {
  const { privateKey } = generateKeyPairSync('ed25519')
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' })
  const [seed, point] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')]
  const blob = Buffer.concat([field(TYPE), field(point)])
  const check = randomBytes(4)
  const secret = Buffer.concat([check, check, blob, field(Buffer.concat([seed, point])), field(comment)])
  const padding = Buffer.from(Array.from({ length: (BLOCK_BYTES - (secret.length % BLOCK_BYTES)) % BLOCK_BYTES }, (_, index) => index + 1))
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field('none'),
    field('none'),
    field(''),
    Buffer.from([0, 0, 0, 1]),
    field(blob),
    field(Buffer.concat([secret, padding])),
  ])
  const lines = file.toString('base64').match(/.{1,70}/g) ?? []
  return {
    publicKey: `${TYPE} ${blob.toString('base64')} ${comment}`,
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`,
    fingerprint: sshFingerprint(blob),
  }
}

/** `SHA256:…` of a public key's bytes, as `ssh-keygen -l` prints it. */
export function sshFingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}

function field(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as Uint8Array)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
