/** Something about users or the policy cannot be done. The message is one line with the remedy, and safe to show. */
export class AccessError extends Error {
  readonly code: 'invalid' | 'exists' | 'conflict' | 'denied';

  constructor(code: 'invalid' | 'exists' | 'conflict' | 'denied', message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AccessError';
    this.code = code;
  }
}
