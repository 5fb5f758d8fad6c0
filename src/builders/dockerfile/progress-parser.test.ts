import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ProgressItem, ProgressParser } from './progress-parser.ts'

function parse(text: string | Uint8Array, pieceBytes = Number.POSITIVE_INFINITY): ProgressItem[] {
  const items: ProgressItem[] = []
  const parser = new ProgressParser((item) => items.push(item))
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  for (let at = 0; at < bytes.length; at += pieceBytes) parser.push(bytes.subarray(at, Math.min(bytes.length, at + pieceBytes)))
  parser.end()
  return items
}

function recorded(name: string): ProgressItem[] {
  return parse(readFileSync(join(import.meta.dirname, 'fixtures', `${name}.txt`)))
}

describe('output of docker 20.10, as recorded', () => {
  test('steps of parallel stages keep their output, however they are interleaved', () => {
    const items = recorded('stages')
    const names = new Map(items.flatMap((item) => (item.kind === 'step' ? [[item.step, item.name] as const] : [])))
    expect(names.size).toBe(15)
    expect(names.get(13)).toBe('[side 2/2] RUN for i in 1 2 3; do echo side $i; sleep 0.2; done; echo x > /side')
    const outputOf = (step: number) => items.flatMap((item) => (item.kind === 'output' && item.step === step ? [item.text] : []))
    expect(outputOf(13)).toEqual(['side 1', 'side 2', 'side 3'])
    expect(outputOf(9)).toEqual(['building hi', 'three', 'err'])
    expect(items).toContainEqual({ kind: 'end', step: 13, how: 'done', seconds: 0.9 })
    expect(items.filter((item) => item.kind === 'note')).toEqual([])
  })

  test('a cache hit is told from work', () => {
    const ends = recorded('partly-cached').flatMap((item) => (item.kind === 'end' ? [[item.step, item.how]] : []))
    expect(ends.filter(([, how]) => how === 'cached').map(([step]) => step)).toEqual([6, 8, 11, 13, 14])
    expect(ends).toContainEqual([9, 'done'])
  })

  test('the step that failed and the error are known', () => {
    const items = recorded('failed-step')
    expect(items.find((item) => item.kind === 'error')).toEqual({
      kind: 'error',
      step: 5,
      text: 'executor failed running [/bin/sh -c echo before; echo oops >&2; exit 3]: exit code: 3',
    })
    expect(items.at(-1)).toMatchObject({ kind: 'note', text: expect.stringContaining('exit code: 3') })
  })

  test('an error before the first step is a note', () => {
    expect(recorded('parse-error').at(-1)).toEqual({
      kind: 'note',
      text: 'failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 2: unknown instruction: RUNN',
    })
  })
})

describe('output of buildx', () => {
  test('headers without digests, repeated headers, CANCELED and the excerpt of the Dockerfile are understood', () => {
    const items = parse(
      [
        '#0 building with "default" instance using docker driver',
        '',
        '#7 [2/3] RUN a',
        '#7 0.150 first',
        '#7 ...',
        '',
        '#8 [other 1/1] RUN b',
        '#8 0.2 b',
        '',
        '#7 [2/3] RUN a',
        '#7 ERROR: process "/bin/sh -c a" did not complete successfully: exit code: 3',
        '',
        '#8 CANCELED',
        '------',
        ' > [2/3] RUN a:',
        '0.150 first',
        '------',
        'ERROR: failed to solve: process "/bin/sh -c a" did not complete successfully: exit code: 3',
      ].join('\n'),
    )
    expect(items.filter((item) => item.kind === 'step').map((item) => item.step)).toEqual([0, 7, 8])
    expect(items).toContainEqual({ kind: 'output', step: 7, text: 'first' })
    expect(items).toContainEqual({ kind: 'end', step: 8, how: 'canceled', seconds: null })
    expect(items).toContainEqual({
      kind: 'error',
      step: 7,
      text: 'process "/bin/sh -c a" did not complete successfully: exit code: 3',
    })
    expect(items.at(-1)).toMatchObject({ kind: 'note', text: expect.stringMatching(/^ERROR: failed to solve/) })
  })
})

describe('hostile output', () => {
  test('I9: what a program prints is never taken for the word of BuildKit', () => {
    const items = parse('#5 [2/2] RUN evil\n#5 0.1 #5 DONE 0.0s\n#5 0.1 \r#5 CACHED\n#5 0.2 ERROR: not so\n#5 0.3\n')
    expect(items.map((item) => item.kind)).toEqual(['step', 'output', 'output', 'output', 'output'])
  })

  test('I9: escape sequences and control characters do not get through', () => {
    const items = parse('#5 [2/2] RUN \u001b[31mred\u0007\n#5 0.1 \u001b]0;title\u0007text\u202e\n')
    expect(JSON.stringify(items)).not.toMatch(/\\u001b|\\u0007|\u202e/)
  })

  test('pieces may be cut anywhere', () => {
    const text = readFileSync(join(import.meta.dirname, 'fixtures', 'stages.txt'))
    for (const size of [1, 7, 64]) expect(parse(text, size)).toEqual(parse(text))
  })

  test('I12: anything at all is read without a throw, and lines stay bounded', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('#1 ', '\n', '\r', 'DONE 0.1s', '#999999999999 x', '0.1 '))), (parts) => {
        for (const item of parse(parts.join(''))) if ('text' in item) expect(item.text.length).toBeLessThanOrEqual(8192)
      }),
    )
    expect(parse(`#1 [1/1] RUN x\n#1 0.1 ${'y'.repeat(1_000_000)}`).every((item) => !('text' in item) || item.text.length <= 8192)).toBe(
      true,
    )
  })
})
