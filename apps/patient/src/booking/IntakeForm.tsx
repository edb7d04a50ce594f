import { Group, NativeSelect, NumberInput, Radio, Textarea, TextInput, Title } from '@mantine/core';
import { CircleAlert } from 'lucide-react';
import type { Questionnaire, QuestionnaireItem } from 'fhir/r4';
import { useT } from '@medconsult/shared/texts/context';
import { Note } from '@medconsult/shared/ui/status';
import { asked, optionKey, type Answer, type Answers } from './intake';

/** The questions of a Questionnaire, one below the other. `missing`: those to answer yet. */
export function IntakeForm({ questionnaire, answers, onChange, missing }: {
  questionnaire: Questionnaire;
  answers: Answers;
  onChange: (answers: Answers) => void;
  missing: readonly string[];
}) {
  return asked(questionnaire.item, answers).map((item) => (
    <Question key={item.linkId} item={item} answer={answers[item.linkId]} isMissing={missing.includes(item.linkId)} onChange={(answer) => onChange({ ...answers, [item.linkId]: answer })} />
  ));
}

function Question({ item, answer, isMissing, onChange }: { item: QuestionnaireItem; answer: Answer | undefined; isMissing: boolean; onChange: (answer: Answer | undefined) => void }) {
  const t = useT();
  const error = isMissing ? t('intake.missing') : undefined;
  const common = { label: item.text ?? item.linkId, required: item.required ?? false, error, 'aria-invalid': isMissing || undefined };
  const text = typeof answer === 'string' ? answer : '';
  switch (item.type) {
    case 'group':
      return <Title order={3}>{item.text}</Title>;
    case 'display':
      return <Note tone="wait" icon={CircleAlert}>{item.text}</Note>;
    case 'boolean':
      return (
        <Radio.Group {...common} value={answer === undefined ? '' : String(answer)} onChange={(value) => onChange(value === 'true')}>
          <Group mt={6}>
            <Radio value="true" label={t('intake.yes')} aria-invalid={isMissing || undefined} />
            <Radio value="false" label={t('intake.no')} />
          </Group>
        </Radio.Group>
      );
    case 'date':
      return <TextInput {...common} type="date" value={text} onChange={(event) => onChange(event.currentTarget.value)} maw="14rem" />;
    case 'integer':
    case 'decimal':
      return <NumberInput {...common} value={typeof answer === 'number' ? answer : ''} allowDecimal={item.type === 'decimal'} onChange={(value) => onChange(value === '' ? undefined : Number(value))} maw="14rem" />;
    case 'choice':
      return (
        <NativeSelect
          {...common}
          value={text}
          onChange={(event) => onChange(event.currentTarget.value)}
          data={[{ value: '', label: t('intake.choose') }, ...(item.answerOption ?? []).map((option) => ({ value: optionKey(option), label: option.valueCoding?.display ?? optionKey(option) }))]}
        />
      );
    case 'text':
      return <Textarea {...common} autosize minRows={3} maxLength={item.maxLength ?? 4000} value={text} onChange={(event) => onChange(event.currentTarget.value)} />;
    default:
      return <TextInput {...common} maxLength={item.maxLength ?? 500} value={text} onChange={(event) => onChange(event.currentTarget.value)} />;
  }
}
