import { pipeline } from 'node:stream/promises'
import { ShiplockError } from '../../core/errors.ts'
import { findReleaseRecord } from '../../store/sql/release-view.ts'
import { type Handlers, STREAMED } from '../route-context.ts'
import { requireService } from './scope.ts'

export const artifactHandlers: Handlers<'getReleaseArtifact'> = {
  getReleaseArtifact: async ({ params, query }, { dependencies, outgoing, signal }) => {
    const target = await requireService(dependencies.database, { ...query, service: params.service }, dependencies)
    const record = await findReleaseRecord(dependencies.database, target.id, params.release)
    if (record === null) throw new ShiplockError('NOT_FOUND', `no release v${params.release} of ${target.service}`)
    const { artifact, number } = record.release
    if (artifact.kind === 'image') {
      throw new ShiplockError('CONFLICT', `v${number} is an image, not a file tree`, { hint: `Pull ${artifact.reference} instead.` })
    }
    const packed = record.isKept ? await dependencies.artifacts.pack(artifact.digest) : null
    if (packed === null) throw new ShiplockError('NOT_FOUND', `release v${number} is no longer kept: its artifact is gone`)
    outgoing.writeHead(200, {
      'content-type': 'application/gzip',
      'content-disposition': `attachment; filename="${target.service}-v${number}.tar.gz"`,
      // Names the tree, not these bytes: another version of zlib packs them otherwise.
      'x-shiplock-digest': artifact.digest,
      'cache-control': 'no-store',
    })
    // A reader that goes away, or a file that can't be read, cuts the answer: it has no length, so that is seen.
    await pipeline(packed, outgoing, { signal }).catch(() => outgoing.destroy())
    return STREAMED
  },
}
