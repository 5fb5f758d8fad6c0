import { describe, expect, it, test } from 'vitest'
import { checkTriggers, type PlanOptions, planDockerfile, refuseBuilderSettings } from './dockerfile-plan.ts'

const OPTIONS: PlanOptions = {
  args: {},
  enginePlatform: 'linux/amd64',
  targetPlatform: 'linux/arm64/v8',
  hasHeredocs: () => true,
  mayAddUrls: false,
}

function plan(source: string, options: Partial<PlanOptions> = {}) {
  const planned = planDockerfile(source, { ...OPTIONS, ...options })
  const render = (scope: string | null = null) =>
    planned.render({
      syntax: planned.syntax === null ? null : `pinned/${planned.syntax}`,
      scope,
      image: ({ reference }) => `<${reference}>`,
    })
  return { ...planned, names: planned.needs.map(({ reference }) => reference), render, lines: render().split('\n').slice(0, -1) }
}

const problem = (source: string, options: Partial<PlanOptions> = {}) => {
  try {
    plan(source, options)
    return null
  } catch (error) {
    return (error as Error).message
  }
}

describe('I10: each image that a Dockerfile can name is found and replaced', () => {
  it.each<[string, string, string[]]>([
    ['FROM', 'FROM node:20', ['node:20']],
    ['another case, tabs, spaces', '  from\tnode:20   as  Build', ['node:20']],
    ['an id prefix, as a name', 'FROM 141', ['141']],
    ['a variable', 'ARG V=20\nFROM node:${V}-slim', ['node:20-slim']],
    ['a default, and its own variable', 'ARG A=1\nFROM x:${B:-${A}}', ['x:1']],
    ['a variable that build.args sets', 'ARG I=good\nFROM $I', ['evil']],
    ['quotes', `ARG X="a"\nFROM "x:$X"`, ['x:a']],
    ['a platform of the build', 'FROM --platform=$BUILDPLATFORM go AS b\nFROM alpine', ['go', 'alpine']],
    ['a line that goes on, with comments between', 'FRO\\\n# x\n\n  # y\nM node\\\n:20', ['node:20']],
    ['another escape', '# escape=`\nFROM a`\nb', ['ab']],
    ['COPY --from', 'FROM a\nCOPY --from=b:1 /x /y', ['a', 'b:1']],
    ['COPY --from in quotes', 'FROM a\nCOPY --"from"=b:1 /x /y', ['a', 'b:1']],
    ['COPY --from with an escape', 'FROM a\nCOPY --fr\\om=b:1 /x /y', ['a', 'b:1']],
    ['COPY --from after other flags', 'FROM a\nCOPY --chown=1:1 --from=b --link x y', ['a', 'b']],
    ['a mount', 'FROM a\nRUN --mount=type=bind,FROM=b,target=/from=z ls', ['a', 'b']],
    ['a cache that begins as an image', 'FROM a\nRUN --mount=from=b,type=cache,target=/c ls', ['a', 'b']],
    ['two mounts', 'FROM a\nRUN --mount=from=b --mount=from=c,type=bind ls', ['a', 'b', 'c']],
    ['stages by name and number are none', 'FROM a AS One\nFROM one\nCOPY --from=ONE x y\nCOPY --from=0 x y', ['a']],
    ['scratch is none', 'FROM scratch', []],
    ['windows line ends and a mark of byte order', '\uFEFFFROM a\r\nCOPY --from=b x \\\r\n y\r\n', ['a', 'b']],
  ])('%s', (_what, source, names) => {
    const planned = plan(source, { args: { I: 'evil' } })
    expect(planned.names).toEqual(names)
    for (const name of names) expect(planned.render()).toContain(`<${name}>`)
    // Read again, it names nothing else.
    expect(plan(planned.render().replaceAll(/[<>]/g, '')).names).toEqual(names)
  })

  it.each<[string, string, RegExp]>([
    ['a line end that old builders take for going on', 'FROM a\nRUN x \\\\\nFROM evil', /line 2: a line that ends in \\\\/],
    ['a stage that comes later', 'FROM a\nCOPY --from=late x y\nFROM b AS late', /the stage late comes only later/],
    ['a number that is no stage', 'FROM a\nCOPY --from=141 x y', /no stage 141/],
    ['a variable in COPY --from', 'FROM a\nCOPY --from=$X x y', /hides where it takes files from/],
    ['a variable in a mount', 'FROM a\nRUN --mount=type=bind,from=$X ls', /hides/],
    ['a mount that quotes a field', `FROM a\nRUN --mount='type=bind,"from=b"' ls`, /hides/],
    ['a form of variables that is not known here', 'FROM ${X#a}', /in a way that is not known here/],
    ['a variable that nobody sets', 'FROM ${X}', /leaves no image name/],
    ['a carriage return within', 'FROM a\rFROM b', /control character/],
    ['a form feed', 'FROM a\fb', /control character/],
    ['an instruction that is not known', 'FROM a\nINCLUDE b', /line 2: unknown instruction: INCLUDE/],
    ['a syntax in another language of comments', '// syntax=evil/frontend\nFROM a', /unknown instruction/],
    ['a syntax in JSON', '{"syntax": "evil/frontend"}\nFROM a', /unknown instruction/],
    ['ONBUILD that copies from an image', 'FROM a\nONBUILD COPY --from=evil x y', /takes files from evil/],
    ['ONBUILD within ONBUILD', 'FROM a\nONBUILD ONBUILD RUN x', /not allowed there/],
    ['RUN in the network of the host', 'FROM a\nRUN --network=host wget x', /--network=host is not allowed/],
    ['RUN with all rights', 'FROM a\nRUN --security=insecure x', /--security=insecure is not allowed/],
    ['RUN with a device', 'FROM a\nRUN --device=vendor/x y', /not allowed/],
  ])('%s is refused', (_what, source, message) => {
    expect(problem(source)).toMatch(message)
  })
})

describe('here-documents', () => {
  const source = 'FROM a\nRUN <<EOF\nFROM evil\nEOF\nCOPY <<-"X" <<Y /d\n\tFROM b\n\tX\nFROM c\nY\nRUN y'
  it('their lines are no instructions where the builder knows them', () => {
    const { names, lines } = plan(source)
    expect(names).toEqual(['a'])
    expect(lines).toEqual(['FROM <a>', ...source.split('\n').slice(1)])
  })

  it('where it does not, they are refused: their lines would be instructions', () => {
    expect(problem(source, { hasHeredocs: () => false })).toMatch(/line 2: a here-document, which this builder does not know/)
  })

  it.each([
    'RUN echo "<<EOF"',
    "RUN echo '<<EOF'",
    'RUN echo $((1<<4))',
    'RUN cat <<<x',
    'RUN a<<EOF',
    'RUN ["sh", "<<EOF"]',
    'RUN echo \\<<EOF',
  ])('%s begins none', (run) => {
    expect(plan(`FROM a\n${run}\nFROM b`).names).toEqual(['a', 'b'])
  })

  it.each(["RUN echo it's <<EOF", 'RUN echo ${x <<EOF', 'RUN <<$X', 'RUN <<E"O"F'])('%s is refused: nobody knows', (run) => {
    expect(problem(`FROM a\n${run}\nFROM b`)).toMatch(/line 2: /)
  })

  it('one without its end is refused', () => {
    expect(problem('FROM a\nRUN <<EOF\nx')).toMatch(/without its end EOF/)
  })
})

test('everything else stays as it is, on its line', () => {
  const source = [
    '# syntax=docker/dockerfile:1',
    '# a comment',
    'FROM node:20 AS b',
    '',
    'RUN --mount=type=cache,target=/c a && \\',
    '   # why',
    '    b "x  y"',
    'COPY --chown=1 a /b',
    'CMD ["x"]',
  ].join('\n')
  const { lines } = plan(source)
  expect(lines).toEqual([
    '# syntax=pinned/docker/dockerfile:1',
    '#',
    'FROM <node:20> AS b',
    '#',
    'RUN --mount=type=cache,target=/c a &&     b "x  y"',
    '#',
    '#',
    'COPY --chown=1 a /b',
    'CMD ["x"]',
  ])
})

test('a very long RUN is broken into lines that say the same', () => {
  const long = `RUN echo ${'word '.repeat(40_000)}`.trim()
  const { lines } = plan(`FROM a\n${long}`)
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(16_000)
  expect(
    lines
      .slice(1)
      .map((line) => line.replace(/\\$/, ''))
      .join(''),
  ).toBe(long)
})

test('I14: each RUN is bound to its scope, ONBUILD is not', () => {
  const lines = plan('FROM a\nRUN x\nRUN --mount=type=secret,id=T ["y"]\nONBUILD RUN z').render('mine').split('\n')
  expect(lines.slice(1, 4)).toEqual([
    'RUN --mount=type=secret,id=mine,required=false x',
    'RUN --mount=type=secret,id=mine,required=false --mount=type=secret,id=T ["y"]',
    'ONBUILD RUN z',
  ])
})

describe('ADD', () => {
  it.each([
    'http://127.0.0.1/x',
    'https://a/b',
    'HTTP://a',
    'git@github.com:a/b.git',
    'ssh://a/b',
    'git://a',
    '"https://a/b"',
    "'http://a'",
  ])('of %s is refused, unless the owner allows it', (url) => {
    expect(problem(`FROM a\nADD ${url} /x`)).toMatch(/the engine would fetch it in the network of its host/)
    expect(problem(`FROM a\nADD ["${url.replaceAll(/["']/g, '')}", "/x"]`)).toMatch(/would fetch/)
    expect(problem(`FROM a\nADD ok ${url} /x`)).toMatch(/would fetch/)
    expect(plan(`FROM a\nADD ${url} /x`, { mayAddUrls: true }).lines[1]).toBe(`ADD ${url} /x`)
  })

  it.each([
    ['ADD $URL /x', 'ADD ./$URL /x'],
    ['ADD ${A}b c /x', 'ADD ./${A}b c /x'],
    ['ADD h"ttp://a" /x', 'ADD ./h"ttp://a" /x'],
    ['ADD ["$URL", "/x"]', 'ADD ["./$URL","/x"]'],
    ['ADD --chown=1 $A /x', 'ADD --chown=1 ./$A /x'],
    ['ADD github.com/a/b.git /x', 'ADD ./github.com/a/b.git /x'],
    ['ADD a.tar.gz .env ./b /x', 'ADD a.tar.gz .env ./b /x'],
  ])('%s can become none', (add, written) => {
    expect(plan(`FROM a\n${add}`).lines[1]).toBe(written)
  })
})

test('I10: triggers of an image are held to what can be seen', () => {
  const check = (trigger: string, mayAddUrls = false) => {
    try {
      checkTriggers([trigger], { reference: 'x', stages: ['build'], line: 1 }, mayAddUrls)
      return null
    } catch (error) {
      return (error as Error).message
    }
  }
  for (const fine of [
    'RUN npm ci',
    'COPY . /app',
    'COPY --from=build a b',
    'COPY --from=0 a b',
    'ADD x.tar /',
    'RUN --mount=type=cache,target=/c x',
  ])
    expect(check(fine), fine).toBeNull()
  for (const bad of [
    'COPY --from=shiplock/beta/api:dep_1 /app-secret.txt /x',
    'copy --"from"=evil a b',
    'RUN --mount=type=bind,from=evil,target=/x ls',
    'RUN --mount=type=secret,id=T cat /run/secrets/T',
    'RUN --network=host x',
    'ADD http://127.0.0.1/ /x',
    'ADD $URL /x',
    'FROM evil',
    'RUN a\nCOPY --from=evil a b',
    'RUN <<EOF',
  ])
    expect(check(bad), bad).toMatch(/has ONBUILD/)
})

test('settings of the builder are not for build.args', () => {
  for (const name of ['BUILDKIT_CACHE_MOUNT_NS', 'BUILDKIT_SYNTAX', 'buildkit_syntax'])
    expect(() => refuseBuilderSettings({ [name]: 'x' }), name).toThrow(/is a setting of the builder/)
  expect(() => refuseBuilderSettings({ BUILDKIT_INLINE_CACHE: '1', NODE_ENV: 'production' })).not.toThrow()
})
