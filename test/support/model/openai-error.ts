import type { StatusStep } from './scenario.ts';
import type { Refusal } from './wire.ts';

/** Error answers that the Responses and the Chat Completions API share. */
export function openaiRefusal(step: StatusStep, now_s: number): Refusal {
  return { body: { error: { param: null, ...errorOf(step, now_s) } }, headers: {} };
}

function errorOf(step: StatusStep, now_s: number): Record<string, unknown> {
  switch (step.flavour) {
    case 'usage_limit': {
      const wait = step.resets_in_s ?? 3600;
      return {
        type: 'usage_limit_reached',
        message: step.message ?? 'The usage limit has been reached',
        plan_type: 'plus',
        resets_at: now_s + wait,
        resets_in_seconds: wait,
      };
    }
    case 'quota':
    case 'credit':
      return {
        type: 'insufficient_quota',
        code: 'insufficient_quota',
        message: step.message ?? 'You exceeded your current quota, please check your plan and billing details.',
      };
    default:
      return { ...plain(step.status), ...(step.message === undefined ? {} : { message: step.message }) };
  }
}

function plain(status: number): Record<string, unknown> {
  switch (status) {
    case 401:
      return { type: 'invalid_request_error', code: 'invalid_api_key', message: 'Incorrect API key provided.' };
    case 429:
      return { type: 'requests', code: 'rate_limit_exceeded', message: 'Rate limit reached for requests' };
    case 404:
      return { type: 'invalid_request_error', code: 'model_not_found', message: 'The model does not exist' };
    default:
      return status >= 500
        ? { type: 'server_error', code: null, message: 'The server had an error while processing your request' }
        : { type: 'invalid_request_error', code: null, message: `scripted error ${status}` };
  }
}
