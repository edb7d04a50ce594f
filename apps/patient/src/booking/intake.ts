/** Questions before a visit (a Questionnaire of groups, texts, dates, numbers, choices and yes or no) and their answers. */
import type { Questionnaire, QuestionnaireItem, QuestionnaireResponseItem, QuestionnaireResponseItemAnswer } from 'fhir/r4';

export type Answer = string | boolean | number;
/** By linkId. */
export type Answers = Readonly<Record<string, Answer | undefined>>;

/** Whether a question is asked, given the answers so far. */
export function isAsked(item: QuestionnaireItem, answers: Answers): boolean {
  const conditions = item.enableWhen ?? [];
  if (conditions.length === 0) return true;
  const holds = conditions.map((condition) => {
    const answer = answers[condition.question];
    const wanted = condition.answerBoolean ?? condition.answerString ?? condition.answerInteger ?? condition.answerDecimal ?? condition.answerDate ?? condition.answerCoding?.code;
    if (condition.operator === 'exists') return (answer !== undefined && answer !== '') === condition.answerBoolean;
    if (answer === undefined || answer === '') return false;
    switch (condition.operator) {
      case '=':
        return answer === wanted;
      case '!=':
        return answer !== wanted;
      case '>':
        return wanted !== undefined && answer > wanted;
      case '<':
        return wanted !== undefined && answer < wanted;
      case '>=':
        return wanted !== undefined && answer >= wanted;
      case '<=':
        return wanted !== undefined && answer <= wanted;
      default:
        return false;
    }
  });
  return item.enableBehavior === 'any' ? holds.some(Boolean) : holds.every(Boolean);
}

/** All questions that are asked, with those in groups. */
export function asked(items: QuestionnaireItem[] | undefined, answers: Answers): QuestionnaireItem[] {
  return (items ?? []).filter((item) => isAsked(item, answers)).flatMap((item) => [item, ...asked(item.item, answers)]);
}

/** The linkIds of required questions without an answer. */
export function missingIn(questionnaire: Questionnaire, answers: Answers): string[] {
  return asked(questionnaire.item, answers)
    .filter((item) => item.required && item.type !== 'group' && item.type !== 'display')
    .filter((item) => answers[item.linkId] === undefined || answers[item.linkId] === '')
    .map((item) => item.linkId);
}

/** The answers as FHIR has them. What was hidden again is left out. */
export function answersOf(questionnaire: Questionnaire, answers: Answers): QuestionnaireResponseItem[] {
  const take = (items: QuestionnaireItem[] | undefined): QuestionnaireResponseItem[] =>
    (items ?? []).filter((item) => item.type !== 'display' && isAsked(item, answers)).flatMap((item) => {
      const below = take(item.item);
      const answer = answers[item.linkId];
      const value = answer === undefined || answer === '' ? undefined : valueOf(item, answer);
      if (!value && below.length === 0) return [];
      const response: QuestionnaireResponseItem = { linkId: item.linkId, ...(item.text && { text: item.text }) };
      if (item.type === 'group') response.item = below;
      else if (value) response.answer = [{ ...value, ...(below.length > 0 && { item: below }) }];
      return [response];
    });
  return take(questionnaire.item);
}

function valueOf(item: QuestionnaireItem, answer: Answer): QuestionnaireResponseItemAnswer {
  switch (item.type) {
    case 'boolean':
      return { valueBoolean: answer === true };
    case 'integer':
      return { valueInteger: Number(answer) };
    case 'decimal':
      return { valueDecimal: Number(answer) };
    case 'date':
      return { valueDate: String(answer) };
    case 'choice': {
      const option = item.answerOption?.find((each) => optionKey(each) === answer);
      return option?.valueCoding ? { valueCoding: option.valueCoding } : { valueString: String(answer) };
    }
    default:
      return { valueString: String(answer) };
  }
}

export function optionKey(option: { valueCoding?: { code?: string | undefined; display?: string | undefined } | undefined; valueString?: string | undefined }): string {
  return option.valueCoding?.code ?? option.valueString ?? option.valueCoding?.display ?? '';
}

/** Answers as lines for people: what was asked, and what was said. */
export function linesOf(items: QuestionnaireResponseItem[] | undefined, yes: string, no: string): { text: string; answer: string }[] {
  return (items ?? []).flatMap((item) => {
    const said = (item.answer ?? []).map((answer) => {
      if (answer.valueBoolean !== undefined) return answer.valueBoolean ? yes : no;
      return String(answer.valueString ?? answer.valueDate ?? answer.valueInteger ?? answer.valueDecimal ?? answer.valueCoding?.display ?? answer.valueCoding?.code ?? '');
    });
    const own = said.length > 0 ? [{ text: item.text ?? item.linkId, answer: said.join(', ') }] : [];
    return [...own, ...linesOf(item.item, yes, no), ...(item.answer ?? []).flatMap((answer) => linesOf(answer.item, yes, no))];
  });
}
