import { isAgentCli, requestedHarness } from '../harness/registry.ts';
import type { Config } from '../model/config.ts';
import { AppError } from '../model/error.ts';
import { projectConfigPath } from '../model/home.ts';
import type { Profile } from '../model/profile.ts';
import { looserBy } from '../model/repository-choice.ts';
import type { Role } from '../model/role.ts';

/** What was asked for in words of the person's own; null: nothing. */
interface Asked {
  harness: string | null;
  profile: string | null;
  role: string | null;
}

/**
 * Refuses what a repository that is not trusted chose for a session and may not (docs/adr/0007): a harness that runs no
 * agent CLI but a script or a program, a role with rights, and a profile of its own that allows more than the user's
 * default. What the person asked for by name is the person's doing. Throws `repository_untrusted` (3).
 */
export function refuseChoice(
  config: Config,
  asked: Asked,
  { profile, role }: { profile: Profile | null; role: Pick<Role, 'name' | 'can'> },
): void {
  const choice = config.repository_choice;
  if (choice === undefined) return;
  const isOwnProfile = profile !== null && choice.profiles.includes(profile.profile_name);
  const isDefault = asked.profile === null && choice.keys.includes('default_profile');
  if (profile?.agent && (isOwnProfile || isDefault))
    refuseHarness(choice, `profile ${profile.profile_name}`, profile.agent);
  if (!profile?.agent?.trim() && !asked.harness?.trim() && choice.keys.includes('default_harness'))
    refuseHarness(choice, 'default_harness', requestedHarness(config.default_harness, null));
  const looser = isOwnProfile && choice.ceiling !== null ? looserBy(profile, choice.ceiling) : [];
  if (looser.length > 0)
    throw untrusted(
      choice,
      `The profile ${profile?.profile_name} allows more than your own default profile ${choice.ceiling?.profile_name}: ${looser.join(', ')}`,
      'Name a profile of your own',
    );
  if (asked.role === null && choice.keys.includes('default_role') && role.can.length > 0)
    throw untrusted(
      choice,
      `default_role: the role ${role.name} has rights (${role.can.join(', ')})`,
      `Give it yourself with --role ${role.name}, or another one`,
    );
}

/** The same for what stands in `computer_use` and was not asked for otherwise. Throws `repository_untrusted` (3). */
export function refuseComputerUse(
  { repository_choice: choice, computer_use, profiles }: Config,
  asked: { harness?: string | undefined; profile?: string | undefined },
): void {
  if (asked.harness === undefined && choice?.keys.includes('computer_use.harness'))
    refuseHarness(choice, 'computer_use.harness', computer_use.harness ?? '');
  if (asked.profile === undefined && choice?.keys.includes('computer_use.profile'))
    refuseHarness(choice, 'computer_use.profile', profiles[computer_use.profile ?? '']?.agent ?? '');
}

/** The same for the steps of a template that was found in a repository by its name. Throws `repository_untrusted` (3). */
export function refuseTemplate(
  { trusted_repositories }: Config,
  { file, found_in }: { file: string; found_in: string | null },
  steps: readonly { name: string; agent: string | null }[],
): void {
  if (found_in === null || trusted_repositories.includes(found_in)) return;
  for (const { name, agent } of steps) refuseHarness({ repo_root: found_in, file }, name, agent ?? '');
}

/** What was chosen where. */
interface Chooser {
  repo_root: string;
  /** Absolute; absent: its config. */
  file?: string;
}

function refuseHarness(choice: Chooser, where: string, word: string): void {
  if (isAgentCli(word)) return;
  throw untrusted(
    choice,
    `${where}: a repository may choose among the agent CLIs, not ${word.trim()}`,
    'Choose another harness and profile yourself',
  );
}

function untrusted({ repo_root, file }: Chooser, what: string, instead: string): AppError {
  return new AppError('refused', 'repository_untrusted', `${file ?? projectConfigPath(repo_root)}: ${what}.`, {
    hint: `${instead}, or read that file and add ${repo_root} to trusted_repositories in your own config.`,
    unsafe_condition: 'what a repository that you do not trust chose would run as you',
    preserved: 'nothing was stored',
  });
}
