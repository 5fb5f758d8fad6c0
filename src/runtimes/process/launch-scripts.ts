/**
 * Constant programs for /bin/sh. What varies comes as arguments; no user's string is parsed as shell outside the sandbox.
 *
 * SUPERVISE_SCRIPT <directory> <launch> <log> <log bytes> <kill file or ''> <fallocate or ''> <command>...
 * is the parent of everything in an instance, outside its sandbox and limits, and outlives the server. It
 * - runs only if it is the launch that is wanted, and claims it by creating `run.<launch>` exclusively: of two supervisors for one
 *   launch (the server died after spawning the first) exactly one runs the command;
 * - records the exit code, which nobody else could learn while no server runs;
 * - keeps the log within its bound meanwhile, looking the more often the faster it grows, and notes how long it was when; the server, while
 *   it lives, cuts it earlier, and leaves nothing to cut here: two that cut at once could leave a floor below a hole;
 * - has no standard error of its own by then: shells announce on it which signal ended their command, which is no output of the app;
 * - catches signals instead of ignoring them: caught ones are reset to the default in children, ignored ones would stay ignored.
 * The command runs in the foreground, since a shell without job control starts background commands with SIGINT ignored.
 */
export const SUPERVISE_SCRIPT = `
directory=$1 launch=$2 log=$3 bound=$4 kill=$5 fallocate=$6
shift 6
trap : TERM INT HUP QUIT USR1 USR2
read -r wanted <"$directory/launch" 2>/dev/null || exit 0
[ "$wanted" = "$launch" ] || exit 0
started_of() { ticks=\${22}; }
read -r stat </proc/$$/stat
started_of $stat
set -C
{ echo "$$ $ticks" >"$directory/run.$launch"; } 2>/dev/null || exit 0
set +C
bounded() {
  trap 'kill $! 2>/dev/null; exit 0' TERM
  before=0 pause=10
  while :; do
    sleep $pause &
    wait $!
    kill -0 $$ 2>/dev/null || exit 0
    line=$(stat -c '%s %.3Y' "$log" 2>/dev/null) || continue
    size=\${line%% *}
    pause=10
    [ $((size - before)) -gt $((bound / 4)) ] && pause=0.5
    before=$size
    base=0 floor=0
    read -r base <"$log.base"
    read -r floor <"$log.floor"
    [ "$line" = "$last" ] || echo "$((base + size)) \${line#* }" >>"$log.times"
    last=$line
    if [ -n "$fallocate" ] && [ $((size - floor)) -gt $((bound * 2)) ]; then
      echo $((size - bound)) >"$log.floor"
      "$fallocate" --punch-hole --offset 0 --length $((size - bound)) "$log"
    fi
  done
}
bounded </dev/null >/dev/null 2>&1 &
keeper=$!
exec 4>>"$directory/started.$launch" 5>&2 2>/dev/null
( exec 2>&5 5>&-; exec "$@" )
code=$?
exec 4>&-
[ -n "$kill" ] && { echo 1 >"$kill"; } 2>/dev/null
kill "$keeper"
wait "$keeper"
echo "$code" >"$directory/exit.$launch"
`.trim()

/**
 * RUN_SCRIPT <continue|fail> <number of init commands> <init command>... <shell|exec> <start command>... | <argv>...
 * runs inside the sandbox. Descriptor 4 tells the supervisor's directory when the start command runs, and which init commands failed.
 * `_sl_tag`, where it is set, stands before each of these lines: in a container they go the way of the output.
 * Its variables have a prefix: a plain name that the app has in its environment would reach the app changed.
 *
 * A start command is evaluated by a shell that lives through SIGTERM until its foreground command has ended, and then ends with that
 * command's code. Stopping signals the whole process group; a shell that died of it at once would take the app with it, mid-request.
 *
 * Several start commands run side by side and end together: the first that exits decides the code, the others get SIGTERM and 5 s.
 * They are background commands of a shell, so SIGINT and SIGQUIT are ignored in them; stopping uses SIGTERM.
 */
const RUN_SCRIPT = `
_sl_failure=$1 _sl_count=$2 _sl_number=0
shift 2
while [ $_sl_number -lt $_sl_count ]; do
  _sl_number=$((_sl_number + 1))
  /bin/sh -c "$1" 4>&-
  _sl_code=$?
  shift
  [ $_sl_code -eq 0 ] && continue
  echo "shiplock: init command $_sl_number of $_sl_count exited with $_sl_code" >&2
  [ "$_sl_failure" = fail ] || { echo "\${_sl_tag}passed-over $_sl_number $_sl_code" >&4; continue; }
  echo "\${_sl_tag}init $_sl_number $_sl_code" >&4
  exit 1
done
_sl_mode=$1
shift
echo "\${_sl_tag}started" >&4
exec 4>&-
unset _sl_tag
[ $_sl_mode = exec ] && exec "$@"
_sl_shell='trap "exit \\$?" TERM; eval "$1"'
[ $# -eq 1 ] && exec /bin/sh -c "$_sl_shell" sh "$1"
trap : TERM
exec 8>&1
{
  trap : TERM
  for _sl_command; do
    ( trap : TERM; /bin/sh -c "$_sl_shell" sh "$_sl_command" >&8 8>&- 9>&-; echo $? >&9 ) &
  done
  while ! wait; do :; done
} 9>&1 | {
  trap '' TERM
  exec 7<&0 2>/dev/null
  read -r _sl_code <&7
  kill -TERM 0
  sleep 5 8>&- &
  _sl_timer=$!
  { /bin/cat <&7; kill -KILL $_sl_timer; } >/dev/null 2>&1 &
  wait $_sl_timer
  exit "\${_sl_code:-1}"
}
exit $?
`.trim()

/** The argv that runs init commands, then `start`: `['shell', command…]` or `['exec', …argv]`. */
export function runScript(initFailure: 'continue' | 'fail', initCommands: readonly string[], start: readonly string[]): readonly string[] {
  return ['/bin/sh', '-c', RUN_SCRIPT, 'shiplock', initFailure, String(initCommands.length), ...initCommands, ...start]
}
