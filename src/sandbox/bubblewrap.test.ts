import { describe, expect, test } from 'vitest'
import { bubblewrapArguments, covered, nodePaths, type Toolbox } from './bubblewrap.ts'

const TOOLS: Toolbox = {
  bwrap: '/usr/bin/bwrap',
  setpriv: '/usr/bin/setpriv',
  userNamespace: false,
  filter: null,
  readOnly: ['/root/.nvm/node/bin'],
}
const VIEW = {
  directory: '/data/instances/ins_a/root',
  mountPoint: '/var/www',
  mounts: [{ source: '/data/site', target: '/run/shiplock/static-server', writable: false }],
  workingDirectory: 'api',
}

describe('bubblewrapArguments', () => {
  const args = bubblewrapArguments(TOOLS, VIEW)
  /** Sources of everything that is shown from the host, with whether it may be written. */
  const shown = args.flatMap((arg, index) => (/^--(ro-)?bind/.test(arg) ? [{ source: args[index + 1], writable: arg === '--bind' }] : []))

  test('I10: nothing but the given directory may be written, and neither homes nor variable data are shown', () => {
    expect(shown.filter(({ writable }) => writable)).toEqual([{ source: VIEW.directory, writable: true }])
    for (const { source = '' } of shown)
      expect(['/', '/root', '/home', '/var', '/data', '/run', '/etc', '/tmp', '/proc', '/sys']).not.toContain(source)
  })

  test('directories above what is shown can be entered by the user of the project', () => {
    const at = args.indexOf('/run/shiplock')
    expect(args.slice(at - 3, at)).toEqual(['--perms', '0755', '--dir'])
  })

  test('it begins in the working directory below the mount point', () => {
    expect(args.slice(args.indexOf('--chdir')).slice(0, 2)).toEqual(['--chdir', '/var/www/api'])
  })

  test('it ends with its parent and has its own processes', () => {
    for (const option of ['--die-with-parent', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--new-session'])
      expect(args).toContain(option)
  })

  test('an ordinary user needs a user namespace and keeps no capability in it', () => {
    expect(bubblewrapArguments({ ...TOOLS, userNamespace: true }, VIEW).slice(0, 3)).toEqual(['--unshare-user', '--cap-drop', 'ALL'])
  })
})

describe('nodePaths', () => {
  test('shows nothing more for a node of the system', () => {
    expect(nodePaths('/usr/local/bin/node')).toEqual([])
    expect(nodePaths('/opt/node/bin/node')).toEqual([])
  })

  test('I10: shows the directory of a node in a home, never the home', () => {
    expect(nodePaths('/home/ada/.nvm/v20/bin/node')).toEqual(['/home/ada/.nvm/v20/bin'])
    expect(nodePaths('/home/ada/node')).toEqual(['/home/ada/node'])
  })

  test('a path that only begins like a system path is not one', () => {
    expect(covered('/usr')).toBe(true)
    expect(covered('/usrlocal/bin')).toBe(false)
  })
})
