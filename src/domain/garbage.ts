/** An image as the container engine has it. */
export interface StoredImage {
  readonly id: string
  /** `name:tag`. */
  readonly tags: readonly string[]
  /** `name@sha256:…`: what it is called in registries. */
  readonly digests: readonly string[]
  /** Of the Shiplock that built it, from its label; null = it has none. */
  readonly owner: string | null
  readonly bytes: number
  /** ms since the epoch. */
  readonly createdAt: number
}

export interface ImageRecords {
  /** Ids and references of images that a kept release, an unsettled deployment, an instance or a layer of recipes names. */
  readonly needed: ReadonlySet<string>
  /** Ids of images that were built for a deployment of ours, some time. */
  readonly built: ReadonlySet<string>
  readonly owner: string
  readonly now: number
  /** Younger images may belong to a build whose record is not written yet. */
  readonly graceMs: number
}

export interface ImageFate {
  readonly image: StoredImage
  /** `untag`: our names go, the image stays because somebody else gave it one too. */
  readonly fate: 'keep' | 'untag' | 'remove'
  /** Tags and digests to be taken away. */
  readonly names: readonly string[]
  readonly why: string
}

export const NOT_OURS = 'it is not ours'

/**
 * Tags that only Shiplock gives: `shiplock/<project>/<service>:…` and `shiplock/<kind>-layer:…` here, and `:shiplock-<40 hex>` in a
 * registry's repository.
 */
const OWN_TAG = /^shiplock\/[^/]+\/[^/]+$|^shiplock\/(base|runtime)-layer:[^/]+$|:shiplock-[0-9a-f]{40}$/

export function isOwnTag(tag: string): boolean {
  return OWN_TAG.test(tag)
}

/**
 * What becomes of each image. What is live, standby, a way back, pinned or in progress is `needed`; what is not ours by label, tag or
 * record is left alone, and so is an image to which somebody gave a name of their own.
 */
export function imageFates(images: readonly StoredImage[], records: ImageRecords): ImageFate[] {
  return images.map((image) => {
    const keep = (why: string): ImageFate => ({ image, fate: 'keep', names: [], why })
    if (identitiesOf(image).some((name) => records.needed.has(name)))
      return keep('a kept release, an instance, a deployment or a layer needs it')
    if (!isOurs(image, records)) return keep(NOT_OURS)
    const own = image.tags.filter(isOwnTag)
    if (own.length < image.tags.length) {
      return own.length === 0
        ? keep('it has a name that we did not give')
        : { image, fate: 'untag', names: own, why: 'others named it too' }
    }
    const isRecorded = records.built.has(image.id)
    if (!isRecorded && records.now - image.createdAt < records.graceMs) return keep('it was made just now')
    const why = isRecorded ? 'no kept release needs it' : 'no deployment has recorded it'
    return { image, fate: 'remove', names: own.length > 0 ? [...own, ...image.digests] : image.digests, why }
  })
}

function isOurs(image: StoredImage, { owner, built }: ImageRecords): boolean {
  if (image.owner !== null) return image.owner === owner
  return image.tags.some(isOwnTag) || built.has(image.id)
}

/** Everything by which a record may name it. */
export function identitiesOf(image: StoredImage): string[] {
  return [image.id, ...image.tags, ...image.digests, ...image.digests.map((name) => name.slice(name.indexOf('@') + 1))]
}

/** A volume that deployments write to. */
export interface VolumeUse {
  readonly path: string
  readonly totalBytes: number
  readonly freeBytes: number
}

/** Why nothing may be built now; null = there is room. `highWaterPercent`: of the volume in use. */
export function whyFull(
  volumes: readonly VolumeUse[],
  mark: { readonly highWaterPercent: number; readonly freeBytesMin: number },
): string | null {
  for (const { path, totalBytes, freeBytes } of volumes) {
    const percent = totalBytes === 0 ? 100 : (1 - freeBytes / totalBytes) * 100
    const free = `${(freeBytes / 1024 ** 3).toFixed(1)} GiB free at ${path}`
    if (percent >= mark.highWaterPercent)
      return `the disk is ${percent.toFixed(1)} % full, the mark is ${mark.highWaterPercent} % (${free})`
    if (freeBytes < mark.freeBytesMin)
      return `the disk is nearly full: ${free}, ${(mark.freeBytesMin / 1024 ** 3).toFixed(1)} GiB are wanted`
  }
  return null
}
