import { ENVIRONMENT_END } from './environment-script.ts'

/** Descriptors on which bwrap reads its arguments and the filter of system calls, and which it closes then. */
export const ARGUMENTS_DESCRIPTOR = 8
export const FILTER_DESCRIPTOR = 9

/**
 * Constant programs for /bin/sh; everything variable comes in as an argument, so that no string of a user is ever parsed as shell here.
 * JOIN_SCRIPT <marker> <environment file> <file of bwrap's arguments or ''> <file of the filter or ''> <cgroup.procs file>... -- <command>...
 * runs outside: enters the cgroups before anything else exists that could escape them, and opens the files, which the user of the sandbox
 * could not open by himself. What was opened needs its name no longer: variables stand in a file for a moment only. Nothing of the
 * sandbox leaves a core, in which its variables would be.
 */
export const JOIN_SCRIPT = `
export SHIPLOCK_SANDBOX="$1"
exec 3<"$2" || exit 125
[ -z "$3" ] || exec ${ARGUMENTS_DESCRIPTOR}<"$3" || exit 125
[ -z "$4" ] || exec ${FILTER_DESCRIPTOR}<"$4" || exit 125
rm -f -- "$2" \${3:+"$3"}
shift 4
ulimit -c 0
while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done
shift
exec "$@"
`.trim()

/**
 * ENTER_SCRIPT <command>... runs inside, unprivileged: takes the environment from descriptor 3 and becomes the command.
 * The environment passes through a positional parameter, so that no variable of ours can shadow one of the user's.
 */
export const ENTER_SCRIPT = `
set -- "$(/bin/cat <&3)" "$@"
exec 3<&-
case "$1" in *'${ENVIRONMENT_END}') ;; *) echo 'shiplock: the environment is incomplete' >&2; exit 125 ;; esac
eval "$1"
shift
exec "$@"
`.trim()
