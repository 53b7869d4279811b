// A word about a password while it is typed. The server has the last one.

export function strength(password: string): string {
  const kinds = [/[a-z]/, /[A-Z]/, /\d/, /[^a-zA-Z\d]/].filter((kind) => kind.test(password)).length;
  const different = new Set(password).size;
  if (password.length >= 16 && different >= 8) return "Good.";
  if (password.length >= 12 && different >= 7 && kinds >= 2) return "Good.";
  if (password.length >= 10 && different >= 6 && kinds >= 3) return "Fair. Longer is better.";
  return "Weak. Three or four unrelated words are easy to remember and hard to guess.";
}
