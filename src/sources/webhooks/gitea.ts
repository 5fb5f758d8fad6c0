import { identity } from './delivery-identity.ts'
import { firstHeader } from './header-values.ts'
import { type HexSignatureHeader, verifyHexSignatures } from './hex-signature.ts'
import { parseHubEvent } from './hub-payload.ts'
import { readPayload } from './payload.ts'
import { hmacSha256 } from './signature.ts'
import type { Webhook } from './webhook.ts'

const EVENTS = ['X-Forgejo-Event', 'X-Gitea-Event', 'X-Gogs-Event', 'X-GitHub-Event']
const DELIVERIES = ['X-Forgejo-Delivery', 'X-Gitea-Delivery', 'X-Gogs-Delivery', 'X-GitHub-Delivery']
/** All with the same secret over the same bytes; which of them come depends on product and version. */
const SIGNATURES: readonly HexSignatureHeader[] = [
  { name: 'X-Forgejo-Signature', prefix: '' },
  { name: 'X-Gitea-Signature', prefix: '' },
  { name: 'X-Gogs-Signature', prefix: '' },
  { name: 'X-Hub-Signature-256', prefix: 'sha256=' },
]
/** FEED_MAX_COMMIT_NUM, the hosts' default; versions that send no `total_commits` cut the list there without a word. */
const LISTED_COMMITS_MAX = 5

/** Gitea, Forgejo and Gogs. */
export const giteaWebhook: Webhook = {
  provider: 'gitea',
  verify: (request) => verifyHexSignatures(request, SIGNATURES, 'Gitea or Forgejo'),
  identify: (headers, rawBody) => identity(firstHeader(headers, DELIVERIES), firstHeader(headers, EVENTS), rawBody),
  parse: (headers, rawBody) =>
    parseHubEvent(firstHeader(headers, EVENTS) ?? '', readPayload(headers, rawBody), { listedMax: LISTED_COMMITS_MAX }),
  sign: ({ id, event, rawBody, secret }) => ({
    'content-type': 'application/json',
    'X-Gitea-Event': event,
    'X-Gitea-Delivery': id,
    'X-Gitea-Signature': hmacSha256(secret, [rawBody]).toString('hex'),
  }),
}
