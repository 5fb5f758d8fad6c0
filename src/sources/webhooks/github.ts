import { identity } from './delivery-identity.ts'
import { firstHeader } from './header-values.ts'
import { verifyHexSignatures } from './hex-signature.ts'
import { parseHubEvent } from './hub-payload.ts'
import { readPayload } from './payload.ts'
import { hmacSha256 } from './signature.ts'
import type { Webhook } from './webhook.ts'

const EVENT = 'X-GitHub-Event'
const DELIVERY = 'X-GitHub-Delivery'
const SIGNATURE = 'X-Hub-Signature-256'
/** GitHub's documentation of the push event: the list holds at most 2,048 commits. */
const LISTED_COMMITS_MAX = 2048

/** GitHub and GitHub Enterprise. The SHA-1 signature that they still send beside is not looked at. */
export const githubWebhook: Webhook = {
  provider: 'github',
  verify: (request) => verifyHexSignatures(request, [{ name: SIGNATURE, prefix: 'sha256=' }], 'GitHub'),
  identify: (headers, rawBody) => identity(firstHeader(headers, [DELIVERY]), firstHeader(headers, [EVENT]), rawBody),
  parse: (headers, rawBody) =>
    parseHubEvent(firstHeader(headers, [EVENT]) ?? '', readPayload(headers, rawBody), { listedMax: LISTED_COMMITS_MAX }),
  sign: ({ id, event, rawBody, secret }) => ({
    'content-type': 'application/json',
    [EVENT]: event,
    [DELIVERY]: id,
    [SIGNATURE]: `sha256=${hmacSha256(secret, [rawBody]).toString('hex')}`,
  }),
}
