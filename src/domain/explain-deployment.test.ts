import { describe, expect, test } from 'vitest'
import type { Deployment, DeploymentError } from './deployment.ts'
import { EMPTY_FACTS } from './deployment.ts'
import { STATUSES } from './deployment-machine.ts'
import type { Event, EventType } from './event.ts'
import { type DeploymentStory, explainDeployment } from './explain-deployment.ts'
import type { DeploymentId, EnvironmentId, ProjectId, ServiceEnvironmentId, ServiceId } from './ids.ts'

const BEGIN = Date.parse('2026-11-21T12:00:00.000Z')
const at = (second: number) => new Date(BEGIN + second * 1000).toISOString()

function event(second: number, type: EventType, message = '', data: Event['data'] = {}): Event {
  return {
    sequence: second + 1,
    at: at(second),
    type,
    message,
    projectId: 'prj' as ProjectId,
    environmentId: 'env' as EnvironmentId,
    serviceId: 'svc' as ServiceId,
    serviceEnvironmentId: 'sen' as ServiceEnvironmentId,
    deploymentId: 'dep_1' as DeploymentId,
    instanceId: null,
    data,
    terminal: false,
  }
}

function deployment(changes: Partial<Deployment> = {}): Deployment {
  return {
    id: 'dep_1' as DeploymentId,
    projectId: 'prj' as ProjectId,
    environmentId: 'env' as EnvironmentId,
    serviceId: 'svc' as ServiceId,
    serviceEnvironmentId: 'sen' as ServiceEnvironmentId,
    kind: 'deploy',
    source: null,
    trigger: { kind: 'cli', actor: 'ada', note: null },
    options: { rebuild: false, autoRollback: null, variables: 'current', configPath: null, rootDirectory: null },
    status: 'pending',
    stage: null,
    statusReason: '',
    error: null,
    verdict: null,
    settled: false,
    releaseId: null,
    rollbackTo: null,
    replacedBy: null,
    cancelRequested: false,
    facts: EMPTY_FACTS,
    createdAt: at(0),
    startedAt: null,
    settledAt: null,
    ...changes,
  }
}

function story(changes: Partial<Deployment>, more: Partial<DeploymentStory> = {}): DeploymentStory {
  const events = more.events ?? [event(0, 'deployment.queued')]
  return {
    deployment: deployment(changes),
    project: 'shop',
    environment: 'production',
    service: 'web',
    release: null,
    wait: null,
    before: [],
    ...more,
    events,
  }
}

const texts = (told: { readonly facts: readonly { readonly text: string }[] }) => told.facts.map(({ text }) => text)
const BUILD_FAILED: DeploymentError = {
  code: 'BUILD_FAILED',
  message: '`npm run build` ended with exit code 2',
  hint: 'The log names the command and its output.',
  stage: 'build',
  logTail: [],
  attempts: [],
}
const STARTED = [event(0, 'deployment.queued'), event(1, 'deployment.started', 'deploy of web has begun')]

describe('why', () => {
  test('every status has one sentence, facts in order of time, and one next step', () => {
    for (const status of STATUSES) {
      for (const settled of [false, true]) {
        for (const error of [null, BUILD_FAILED]) {
          const told = explainDeployment(story({ status, settled, error, stage: 'build' }, { events: STARTED }))
          expect(told.summary).toContain('dep_1 of web to production')
          expect(told.summary).not.toMatch(/null|undefined| {2}/)
          expect(told.next).not.toMatch(/null|undefined/)
          expect(told.next.split('\n')).toHaveLength(1)
          expect(told.next.length).toBeGreaterThan(10)
          expect(told.facts.map((fact) => fact.at)).toEqual(told.facts.map((fact) => fact.at).sort())
        }
      }
    }
  })

  test('the same story is told the same way twice', () => {
    const one = story({ status: 'failed', error: BUILD_FAILED }, { events: STARTED })
    expect(explainDeployment(one)).toEqual(explainDeployment(structuredClone(one)))
  })

  test('pending: what it waits for is the last fact, and its way out the next step', () => {
    const wait = {
      cause: 'slot' as const,
      text: 'waits for a free slot: 2 of 2 in progress',
      since: at(0),
      next: '`shiplock queue` shows it.',
    }
    const told = explainDeployment(story({}, { wait }))
    expect(told.summary).toBe('dep_1 of web to production waits for a free slot: 2 of 2 in progress.')
    expect(texts(told)).toEqual(['ada asked for a deployment of web, by cli', wait.text])
    expect(told.next).toBe(wait.next)
  })

  test('a failed build: stage, command, classified cause, its hint', () => {
    const events = [
      ...STARTED,
      event(2, 'stage.started', 'fetch has begun', { stage: 'fetch' }),
      event(3, 'stage.finished', 'commit c0ffee', { stage: 'fetch' }),
      event(4, 'build.running'),
      event(5, 'stage.failed', BUILD_FAILED.message, { stage: 'build', code: 'BUILD_FAILED' }),
      event(5, 'build.failed', BUILD_FAILED.message),
      event(6, 'deployment.failed', BUILD_FAILED.message),
    ]
    const told = explainDeployment(
      story({ status: 'failed', stage: 'build', settled: true, startedAt: at(1), error: BUILD_FAILED }, { events }),
    )
    expect(told.summary).toBe(
      'dep_1 of web to production failed during build: `npm run build` ended with exit code 2. What was live serves on.',
    )
    expect(texts(told).slice(1)).toEqual([
      'deploy of web has begun',
      'fetch: commit c0ffee',
      'build failed: `npm run build` ended with exit code 2',
      'it ended as failed',
      'the cause is classified as BUILD_FAILED',
    ])
    expect(told.next).toBe(BUILD_FAILED.hint)
  })

  test('failed after its swap says that the previous one serves again', () => {
    const events = [...STARTED, event(9, 'deployment.swapped_back', 'dep_0 serves again')]
    const told = explainDeployment(story({ status: 'failed', stage: 'bake', error: { ...BUILD_FAILED, stage: 'bake' } }, { events }))
    expect(told.summary).toContain('the previous one serves again')
  })

  test('absorbed: it never began, and who took its place can be asked next', () => {
    const events = [
      event(0, 'deployment.queued'),
      event(3, 'deployment.absorbed', 'dep_2 took its place: a newer push to main came while it waited'),
    ]
    const told = explainDeployment(
      story(
        { status: 'superseded', settled: true, replacedBy: 'dep_2' as DeploymentId, statusReason: 'dep_2 took its place: a newer push' },
        { events },
      ),
    )
    expect(told.summary).toContain('never began: dep_2 took its place')
    expect(told.next).toBe('`shiplock why dep_2` tells about the one that took its place in the queue.')
  })

  test('the absorber says whom it absorbed, an override its reason, a push its commit', () => {
    const push = { provider: 'github', deliveryId: 'd', ref: 'refs/heads/main', commit: 'c0ffee0123456789', author: null, message: null }
    const told = explainDeployment(
      story(
        { trigger: { kind: 'webhook', actor: 'github', note: null, push }, options: { ...deployment().options, overrideFreeze: 'hotfix' } },
        { events: [event(0, 'deployment.queued', '', { absorbed: ['dep_a', 'dep_b'] })] },
      ),
    )
    expect(texts(told)).toEqual([
      'a push to refs/heads/main (commit c0ffee012345) asked for a deployment of web',
      'it did not wait for the end of the freeze: hotfix',
      'it took the place of dep_a, dep_b in the queue',
    ])
  })

  test.each([
    [
      'the one before it',
      [{ id: 'dep_0' as DeploymentId, until: at(70) }],
      [],
      'for dep_0 of the same service and environment, until 2026-11-21T12:01:10.000Z',
    ],
    ['a freeze', [], [event(10, 'environment.frozen', 'production is frozen until noon: r')], 'for the end of a freeze or hold'],
    ['a slot', [], [], 'for a free slot'],
  ] as const)('a wait that is over is told with its length and reason: %s', (_, before, between, expected) => {
    const events = [event(0, 'deployment.queued'), ...between, event(72, 'deployment.started', 'begun')]
    const told = explainDeployment(story({ status: 'building', stage: 'build', startedAt: at(72) }, { events, before }))
    expect(texts(told)).toContain(`it had waited 1 min 12 s ${expected}`)
  })

  test('skipped stages, restarts of the server and warnings are facts', () => {
    const events = [
      ...STARTED,
      event(2, 'deployment.resumed', 'taken up again at build', { stage: 'build' }),
      event(3, 'stage.skipped', 'release v3 has the same build key', { stage: 'build' }),
      event(4, 'deployment.warning', 'scan: no scanner', { stage: 'scan' }),
    ]
    expect(texts(explainDeployment(story({ status: 'deploying', stage: 'verify' }, { events }))).slice(2)).toEqual([
      'another start of a server took it up again at build',
      'build skipped: release v3 has the same build key',
      'warning: scan: no scanner',
    ])
  })

  test('a cancel that is under way asks for nothing', () => {
    expect(explainDeployment(story({ status: 'building', stage: 'build', cancelRequested: true })).next).toBe(
      'Nothing to do: it ends by itself.',
    )
  })
})
