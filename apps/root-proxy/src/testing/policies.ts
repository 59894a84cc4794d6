/** Everybody may dial everything: for tests of something else. */
export const OPEN_POLICY = `
rules:
  - name: open
    allow: [everyone, anonymous]
    leaves: ['*']
    nodes: ['*']
`;
