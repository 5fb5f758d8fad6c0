import { createColors } from 'picocolors'
import { describe, expect, test } from 'vitest'
import type { Deployment } from '../contract/deployment.ts'
import { hasEnded } from './follow-deployment.ts'
import { createPipelineView } from './pipeline-view.ts'
import { renderNext, renderResult } from './render-deployment.ts'
import type { Terminal } from './terminal.ts'

function fakeTerminal(options: { isLive?: boolean; isJson?: boolean } = {}): Terminal & { readonly output: string[] } {
  const output: string[] = []
  return {
    program: 'shiplock',
    isLive: options.isLive ?? false,
    isJson: options.isJson ?? false,
    columns: 80,
    colors: createColors(false),
    print: (line = '') => output.push(`${line}\n`),
    draw: (text) => output.push(text),
    json: (value) => output.push(JSON.stringify(value)),
    error: (line) => output.push(`${line}\n`),

    canAsk: false,
    confirm: async () => false,
    readSecret: async () => '',
    output,
  }
}

const at = '2026-01-31T12:00:00.000Z'
const stage = (name: string, outcome: 'done' | 'skipped' | 'failed' | null, tookMs: number | null = 5) => ({
  stage: name,
  outcome,
  reason: outcome === 'skipped' ? 'none defined' : null,
  startedAt: at,
  finishedAt: outcome === null ? null : at,
  tookMs: outcome === null ? null : tookMs,
})

function deployment(more: Partial<Deployment> = {}): Deployment {
  return {
    id: 'dep_1',
    project: 'default',
    environment: 'production',
    service: 'web',
    kind: 'deploy',
    status: 'building',
    stage: 'build',
    statusReason: '',
    error: null,
    settled: false,
    cancelRequested: false,
    replacedBy: null,
    release: 2,
    revision: null,
    source: null,
    trigger: { kind: 'cli', actor: 'admin', note: null },
    detected: null,
    scan: null,
    warnings: [],
    receipt: null,
    bakeMs: 30_000,
    instances: 1,
    url: 'http://web.localhost:8080',
    stages: [stage('fetch', 'done'), stage('build', null)],
    createdAt: at,
    startedAt: at,
    settledAt: null,
    ...more,
  }
}

const receipt = {
  requests: 10,
  failures: 0,
  longestStallMs: 3,
  drainedConnections: 2,
  cutConnections: 0,
  flipMs: 1.25,
  drainMs: 4,
  gapMs: null,
}

describe('the view of a pipeline', () => {
  test('without a terminal each stage is told once, when it has ended', () => {
    const terminal = fakeTerminal()
    const view = createPipelineView(terminal)
    view.update(deployment(), null)
    view.update(deployment(), null)
    view.update(deployment({ stages: [stage('fetch', 'done'), stage('build', 'done', 2100), stage('prepare', 'skipped')] }), null)
    view.close()
    const lines = terminal.output.map((line) => line.trim().replaceAll(/\s+/g, ' '))
    expect(lines).toEqual(['✔ fetch 5 ms', '✔ build 2.1 s', '– prepare none defined'])
  })

  test('what it waits for is told when it changes', () => {
    const terminal = fakeTerminal()
    const view = createPipelineView(terminal)
    const pending = deployment({ status: 'pending', stages: [] })
    for (const reason of ['waits for a free slot', 'waits for a free slot', 'about to start']) view.update(pending, reason)
    expect(terminal.output).toEqual(['  … waits for a free slot\n', '  … about to start\n'])
  })

  test('I9: lines of a build can’t play with the terminal', () => {
    const terminal = fakeTerminal()
    createPipelineView(terminal).line({ sequence: 1, at, stream: 'build', source: null, text: '\u001b[2J\u001b[1;1Hgone' })
    expect(terminal.output.join('')).not.toContain('\u001b')
  })

  test('on a terminal what is drawn in place is taken away again, and the cursor comes back', () => {
    const terminal = fakeTerminal({ isLive: true })
    const view = createPipelineView(terminal)
    view.update(deployment(), null)
    view.line({ sequence: 1, at, stream: 'build', source: null, text: 'compiling' })
    view.update(deployment(), null)
    view.close()
    view.close()
    const drawn = terminal.output.join('')
    expect(drawn).toContain('compiling')
    expect(drawn.endsWith('\u001b[2A\u001b[0J\u001b[?25h')).toBe(true)
  })

  test('with --json nothing is drawn', () => {
    const terminal = fakeTerminal({ isJson: true, isLive: true })
    const view = createPipelineView(terminal)
    view.update(deployment(), 'x')
    view.note('x')
    view.close()
    expect(terminal.output).toEqual([])
  })
})

describe('the end of a deployment', () => {
  test('it is live once it serves and the old version is drained; settled once the watch is over', () => {
    const serving = deployment({ status: 'running', stage: 'bake', receipt })
    expect(hasEnded(deployment({ status: 'running', stage: 'drain' }), 'live')).toBe(false)
    expect(hasEnded(deployment({ status: 'running', stage: 'drain', receipt }), 'live')).toBe(false)
    expect(hasEnded(deployment({ status: 'running', stage: 'retire', receipt }), 'live')).toBe(true)
    expect(hasEnded(serving, 'live')).toBe(true)
    expect(hasEnded(serving, 'settled')).toBe(false)
    expect(hasEnded(deployment({ status: 'failed', settled: true }), 'live')).toBe(true)
  })

  test('success names release, URL and what the swap did', () => {
    const text = renderResult(
      deployment({ status: 'running', receipt, stages: [stage('swap', 'done'), stage('drain', 'done')] }),
      fakeTerminal(),
    ).join('\n')
    expect(text).toContain('web v2 is live')
    expect(text).toContain('http://web.localhost:8080')
    expect(text).toContain('10 requests, 0 failed · longest wait 3 ms · 2 connections drained, 0 cut')
    expect(text).toContain('the version before comes back by itself')
  })

  test('a first deployment is offered no rollback', () => {
    const first = deployment({ status: 'running', receipt, stages: [stage('swap', 'done'), stage('drain', 'skipped')] })
    expect(renderNext(first, fakeTerminal()).join('\n')).not.toContain('rollback')
    expect(renderNext({ ...first, stages: [stage('drain', 'done')] }, fakeTerminal()).join('\n')).toContain('rollback')
  })

  test('failure shows the attempts, the last lines and what to do', () => {
    const error = {
      code: 'NOT_READY',
      message: 'web never became ready',
      hint: 'Listen on PORT.',
      stage: 'verify',
      logTail: ['Error: no\u001b[31m port'],
      attempts: [
        {
          at,
          instanceId: 'ins_1',
          address: 'http://127.0.0.1:4000/',
          outcome: 'failed' as const,
          result: 'HTTP 503',
          body: 'wait',
          tookMs: 3,
        },
      ],
    }
    const text = renderResult(deployment({ status: 'failed', settled: true, error }), fakeTerminal()).join('\n')
    expect(text).toMatch(/ERROR NOT_READY: web never became ready/)
    expect(text).toMatch(/http:\/\/127\.0\.0\.1:4000\/ {2}HTTP 503 {2}"wait"/)
    expect(text).toContain('| Error: no port')
    expect(text).toContain('How to solve: Listen on PORT.')
    expect(text).not.toContain('\u001b')
  })
})
