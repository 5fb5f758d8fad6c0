import { z } from 'zod'

/** RFC 9457. `code` is stable and stands in docs/errors.md; `detail` is for people; `details` are facts for machines. */
export const Problem = z
  .strictObject({
    type: z.string().meta({ description: 'urn:shiplock:error:<code>; docs/errors.md explains each.' }),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.string(),
    hint: z.string().meta({ description: 'What to do next.' }),
    details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'Problem' })
export type Problem = z.infer<typeof Problem>
