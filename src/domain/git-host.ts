/**
 * What a git host expects as user name beside a token over https. GitHub and Bitbucket name one; GitLab takes any for personal, group
 * and project tokens; Gitea and Forgejo look at the token alone.
 */
export function tokenUsername(host: string): string {
  if (host === 'github.com') return 'x-access-token'
  if (host === 'bitbucket.org') return 'x-token-auth'
  return 'oauth2'
}
