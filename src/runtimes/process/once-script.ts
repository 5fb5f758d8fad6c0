/**
 * `shiplock-once [--retry] KEY -- COMMAND…`: of all instances of one deployment exactly one runs the command; the others wait for it and end
 * with its exit code.
 * - The lock is one of the kernel (flock) on a file that the instances share: whoever is killed has let go of it, across pid namespaces
 *   and without a clock. The command inherits it, so a command whose script was killed still keeps the others out.
 * - The result is written by rename while the lock is held: a holder that was killed has left either none, and the next one runs, or a whole one.
 * - With --retry only success is recorded: after a failure the next instance tries.
 */
export const ONCE_SCRIPT = `
say() { echo "shiplock-once: $*" >&2; }
usage() { say "$1"; say 'usage: shiplock-once [--retry] KEY -- COMMAND [ARGUMENT]...'; exit 64; }
retry=
[ "$1" = --retry ] && { retry=1; shift; }
key=$1
case "$key" in ''|[.-]*|*[!A-Za-z0-9._-]*) usage "KEY must be made of letters, digits, '.', '_' and '-'" ;; esac
[ "\${#key}" -le 100 ] || usage 'KEY must be at most 100 characters long'
[ "$2" = -- ] || usage 'there must be -- before the command'
shift 2
[ $# -gt 0 ] || usage 'there is no command'
directory=$SHIPLOCK_ONCE_DIR
[ -n "$directory" ] && [ -d "$directory" ] || { say 'only instances can run this: SHIPLOCK_ONCE_DIR is not set'; exit 69; }
command -v flock >/dev/null 2>&1 || { say 'the program flock is needed (util-linux)'; exit 69; }
result=$directory/$key.result
known() {
  { read -r code by <"$result"; } 2>/dev/null || return 1
  [ "$code" = 0 ] || [ -z "$retry" ] || return 1
  say "$key: ran in $by, exit code $code"
  exit "$code"
}
exec 9>>"$directory/$key.lock"
waiting=
until known; flock -n 9; do
  [ -n "$waiting" ] || { say "$key: another instance is at it; waiting"; waiting=1; }
  sleep 0.1
done
known
"$@"
code=$?
if [ $code -eq 0 ] || [ -z "$retry" ]; then
  echo "$code \${SHIPLOCK_INSTANCE:-?}" >"$result.new" && sync "$result.new" 2>/dev/null
  mv "$result.new" "$result" || { say "$key: the result can't be recorded"; exit 73; }
fi
exit $code
`.trim()
