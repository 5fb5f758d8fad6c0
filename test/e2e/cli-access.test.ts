import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from '../../src/cli/client.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { createProgram } from '../../src/cli/program.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'

let api: ApiFixture
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.stop())

const plain = new Proxy({}, { get: () => (text: string) => text }) as Terminal['colors']

/** A command line, run in this process against the API. */
async function shiplock(line: string, options: { readonly token?: string; readonly answer?: boolean } = {}) {
  const out: string[] = []
  const json: unknown[] = []
  const terminal: Terminal = {
    program: 'shiplock',
    isLive: false,
    isJson: false,
    columns: Number.POSITIVE_INFINITY,
    colors: plain,
    print: (text = '') => void out.push(text),
    draw: (text) => void out.push(text),
    json: (value) => void json.push(value),
    error: (text) => void out.push(text),
    canAsk: options.answer !== undefined,
    confirm: async () => options.answer === true,
    readSecret: async () => '',
  }
  const client = new Client(api.url, options.token ?? api.token)
  const connection = { url: api.url, isLocal: false, dataDirectory: api.dataDirectory, client }
  let code = -1
  const program = createProgram(
    ({ json: isJson }) =>
      ({
        terminal: isJson === true ? { ...terminal, isJson: true, print: () => {} } : terminal,
        env: {},
        workingDirectory: '/',
        signal: new AbortController().signal,
        connect: async () => connection,
      }) as unknown as CliContext,
    '0.0.0',
    (given) => {
      code = given
    },
  )
  await program.parseAsync(line.split(' '), { from: 'user' })
  return { code, text: out.join('\n'), json: json[0] as Record<string, never> }
}

describe('the first hour of a team, on the command line', () => {
  test('project, environments, members, a limited token, what it may, its end, and what the audit log says of all that', async () => {
    expect((await shiplock('project create shop --retention 3 --services 2')).text).toContain('project shop')
    expect((await shiplock('project list')).text).toMatch(/shop +0 of 2 +0 +retention 3, services 2/)
    expect((await shiplock('project limits shop --concurrent-builds 1')).text).toContain('retention 3, services 2, concurrentBuilds 1')
    expect((await shiplock('project limits shop --none --services 4')).text).toMatch(/services 4 +just now/)
    expect((await shiplock('environment create staging -p shop --branch develop')).text).toContain('branch develop')
    expect((await shiplock('environment list -p shop')).text).toMatch(/staging +develop/)
    expect((await shiplock('environment branch staging -p shop')).text).toContain('configuration of each service')
    expect((await shiplock('member add ben -p shop')).text).toContain('ben is developer of shop')
    const made = await shiplock('token create laptop -p shop --member ben -e staging --expires 90d')
    const token = /SHIPLOCK_TOKEN=(slk_\S+)/.exec(made.text)?.[1] ?? ''
    expect((await shiplock('token show', { token })).text).toMatch(/laptop of ben +shop\/staging +developer/)
    await expect(shiplock('token create more --role owner', { token })).rejects.toMatchObject({ code: 'FORBIDDEN' })
    expect((await shiplock('member role ben --role viewer -p shop')).text).toContain('ben is viewer of shop')
    expect((await shiplock('member list -p shop')).text).toMatch(/ben +viewer +1/)
    const listed = (await shiplock('token list -p shop --json')).json as unknown as { tokens: { id: string }[] }
    expect((await shiplock(`token revoke ${listed.tokens[0]?.id}`)).text).toContain('ended')
    await expect(shiplock('token show', { token })).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
    expect((await shiplock('member remove ben -p shop')).code).toBe(0)
    const audit = (await shiplock('audit -p shop')).text.split('\n').slice(1)
    const actions = audit.map((line) => /127\.0\.0\.1 +(\S+)/.exec(line)?.[1])
    expect(actions).toEqual([
      'project.create',
      'project.limit',
      'project.limit',
      'environment.create',
      'environment.change',
      'member.add',
      'token.create',
      'member.change',
      'token.revoke',
      'member.remove',
    ])
  })

  test('a project is deleted only by somebody who says so', async () => {
    await shiplock('project create gone')
    await expect(shiplock('project delete gone')).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    expect((await shiplock('project delete gone', { answer: false })).code).toBe(8)
    expect((await shiplock('project list')).text).toContain('gone')
    expect((await shiplock('project delete gone', { answer: true })).code).toBe(0)
    await shiplock('project create gone')
    expect((await shiplock('project delete gone --yes')).code).toBe(0)
    expect((await shiplock('project list')).text).not.toContain('gone')
  })

  test('what is no verb and no duration is refused before it is sent', async () => {
    await expect(shiplock('token create x --verbs fly')).rejects.toThrow('no verb fly; there are read, deploy')
    await expect(shiplock('token create x --expires soon')).rejects.toThrow('a duration is needed')
    await expect(shiplock('project create x --services many')).rejects.toThrow('must be a whole number')
  })
})
