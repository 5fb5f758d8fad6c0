/** Arguments that run what follows as that user, without a way back to any privilege. Nothing when there is no setpriv. */
export function dropUser(setpriv: string | null, user: number): readonly string[] {
  if (setpriv === null) return []
  const id = String(user)
  return [setpriv, '--reuid', id, '--regid', id, '--clear-groups', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--']
}
