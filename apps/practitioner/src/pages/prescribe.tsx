/** A sheet of prescriptions: written, checked, signed. */
import { FhirFailure } from '@medconsult/shared/fhir/failure';
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { relative } from '@medconsult/shared/fhir/values';
import { useSession } from '@medconsult/shared/session/context';
import type { Translate } from '@medconsult/shared/texts/catalogue';
import { useT } from '@medconsult/shared/texts/context';
import { FileDownload } from '@medconsult/shared/ui/file';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, FormProblem } from '@medconsult/shared/ui/state';
import { Label, Note } from '@medconsult/shared/ui/status';
import { Button, NativeSelect, Textarea } from '@mantine/core';
import { CircleCheck, FileCheck, Pencil, Plus, ShieldCheck, Signature, TriangleAlert } from 'lucide-react';
import type { Bundle, DetectedIssue, DocumentReference, MedicationRequest } from 'fhir/r4';
import { useEffect, useRef, useState } from 'react';
import { Link, useLocation, useParams, useSearchParams } from 'wouter';
import { type Checked, useSheet } from '../data/prescribing';
import { counted } from '../logic/dosage';
import { keyOfIssue, type Line, lineOf, newLine, newSheet, problemsOfLine, SHEETS } from '../logic/sheet';
import { PatientBanner } from '../parts/banner';
import { LineForm } from '../parts/line-form';
import { medicineOf } from '../parts/record';
import classes from './prescribe.module.css';

type Stored = MedicationRequest & { id: string };

export default function Prescribe() {
  const t = useT();
  const { id, sheet } = useParams<{ id: string; sheet?: string }>();
  const [search] = useSearchParams();
  const [location, navigate] = useLocation();
  useEffect(() => {
    // A sheet has its number from the beginning, so that its address leads back to it.
    if (!sheet)
      navigate(`/patients/${id}/prescribe/${newSheet(crypto.getRandomValues(new Uint8Array(10)))}${search.size > 0 ? `?${search}` : ''}`, {
        replace: true,
      });
  }, [sheet, id, search, navigate, location]);
  return (
    <Page title={t('prescribe.title')} back={{ to: `/patients/${id}`, label: t('prescribe.back') }}>
      <PatientBanner id={id} level={2} />
      {sheet && <Sheet key={sheet} patient={`Patient/${id}`} sheet={sheet} />}
    </Page>
  );
}

function Sheet({ patient, sheet }: { patient: string; sheet: string }) {
  const asked = useSearch('MedicationRequest', { patient, _sort: '-authoredon', _count: 200 });
  return (
    <DataState of={asked}>
      {({ resources }) => {
        const own = resources.filter(({ groupIdentifier }) => groupIdentifier?.system === SHEETS && groupIdentifier.value === sheet);
        const known = [...new Set(resources.map(medicineOf).filter(Boolean))];
        return <Steps patient={patient} sheet={sheet} drafts={own.filter(({ status }) => status === 'draft')} known={known} />;
      }}
    </DataState>
  );
}

/** What was said before the person was sent to prove who they are, for when they come back to the same tab. */
const kept = (sheet: string) => `medconsult.reasons.${sheet}`;

function takeReasons(sheet: string): Record<string, string> {
  const text = sessionStorage.getItem(kept(sheet));
  sessionStorage.removeItem(kept(sheet));
  return text ? (JSON.parse(text) as Record<string, string>) : {};
}

function Steps({ patient, sheet, drafts, known }: { patient: string; sheet: string; drafts: Stored[]; known: string[] }) {
  const t = useT();
  const { stepUp } = useSession();
  const [search] = useSearchParams();
  const encounter = search.get('encounter') ?? undefined;
  // Where the person is later is told by what they did, not by what the server has then.
  const [lines, setLines] = useState<Line[]>(() => {
    const found = drafts.flatMap((draft) => lineOf(draft) ?? []).reverse();
    return found.length > 0 ? found : [newLine()];
  });
  const [removed, setRemoved] = useState<string[]>([]);
  const [tried, setTried] = useState(false);
  const [checked, setChecked] = useState<Checked>();
  const [reasons, setReasons] = useState<Record<string, string>>(() => takeReasons(sheet));
  const [signed, setSigned] = useState<Bundle>();
  const { review, sign } = useSheet(sheet, patient);

  const look = (of: Line[]) =>
    review.mutate(
      { lines: of, removed, encounter },
      {
        onSuccess: (found) => {
          setRemoved([]);
          setLines(found.drafts.flatMap((draft) => lineOf(draft) ?? []));
          setChecked(found);
        },
      },
    );
  const submit = () => {
    setTried(true);
    if (lines.every((line) => problemsOfLine(line).length === 0)) look(lines);
  };
  // Back from the proof, the person goes on where they were: before the signature.
  const isBack = useRef(search.has('review') && drafts.length > 0);
  useEffect(() => {
    if (!isBack.current) return;
    isBack.current = false;
    look(lines);
  });

  const give = ({ drafts: of, issues }: Checked, paper: 'a4' | 'letter') =>
    sign.mutate(
      { drafts: of, issues, reasons, paper },
      {
        onSuccess: setSigned,
        onError: (error) => {
          if (!(error instanceof FhirFailure) || !error.stepUp) return;
          sessionStorage.setItem(kept(sheet), JSON.stringify(reasons));
          const here = new URL(location.href);
          here.searchParams.set('review', '');
          void stepUp(error.stepUp, here.pathname + here.search);
        },
      },
    );

  if (signed) return <Signed bundle={signed} patient={patient} />;
  if (checked) {
    return (
      <Review
        checked={checked}
        reasons={reasons}
        onReasons={setReasons}
        onBack={() => {
          sign.reset();
          setChecked(undefined);
        }}
        onSign={(paper) => give(checked, paper)}
        busy={sign.isPending}
        error={sign.error?.stepUp ? undefined : sign.error}
      />
    );
  }
  if (search.has('review') && review.isPending)
    return (
      <div role="status" aria-busy="true">
        {t('prescribe.checking')}
      </div>
    );
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {lines.map((line, index) => (
        <LineForm
          key={line.key}
          line={line}
          number={index + 1}
          known={known}
          tried={tried}
          onChange={(changed) => setLines(lines.map((each) => (each.key === line.key ? changed : each)))}
          onRemove={
            lines.length > 1
              ? () => {
                  setLines(lines.filter(({ key }) => key !== line.key));
                  if (line.stored) setRemoved([...removed, line.stored.id]);
                }
              : undefined
          }
        />
      ))}
      <Button
        variant="default"
        leftSection={<Plus size={18} aria-hidden="true" />}
        onClick={() => {
          setTried(false);
          setLines([...lines, newLine()]);
        }}
      >
        {t('prescribe.add')}
      </Button>
      <FormProblem error={review.error} />
      <div className={classes.buttons}>
        <Button type="submit" leftSection={<ShieldCheck size={18} aria-hidden="true" />} loading={review.isPending}>
          {t('prescribe.check')}
        </Button>
      </div>
    </form>
  );
}

function Review({
  checked,
  reasons,
  onReasons,
  onBack,
  onSign,
  busy,
  error,
}: {
  checked: Checked;
  reasons: Record<string, string>;
  onReasons: (reasons: Record<string, string>) => void;
  onBack: () => void;
  onSign: (paper: 'a4' | 'letter') => void;
  busy: boolean;
  error: unknown;
}) {
  const t = useT();
  const [tried, setTried] = useState(false);
  const [paper, setPaper] = useState<'a4' | 'letter'>('a4');
  const missing = checked.issues.filter((issue) => issue.severity === 'high' && !reasons[keyOfIssue(issue)]?.trim());
  const submit = () => {
    setTried(true);
    if (missing.length === 0) onSign(paper);
  };
  return (
    <>
      <Section
        title={t('prescribe.sheet')}
        actions={
          <Button variant="subtle" size="sm" leftSection={<Pencil size={18} aria-hidden="true" />} onClick={onBack}>
            {t('prescribe.edit')}
          </Button>
        }
      >
        <ul className={classes.sheet}>
          {checked.drafts.map((draft) => (
            <li key={draft.id}>
              <span className={classes.medicine}>{medicineOf(draft)}</span>
              <span className={classes.instruction} lang="en">
                {draft.dosageInstruction?.map(({ text }) => text).join(' ')}
              </span>
              <span className={classes.instruction}> · {dispensed(draft, t)}</span>
            </li>
          ))}
        </ul>
      </Section>
      <Section title={t('prescribe.issues')} plain>
        {checked.issues.length === 0 && (
          <Note tone="good" icon={CircleCheck}>
            {t('prescribe.noIssues')}
          </Note>
        )}
        {checked.issues.map((issue) => (
          <Issue
            key={keyOfIssue(issue)}
            issue={issue}
            reason={reasons[keyOfIssue(issue)] ?? ''}
            wrong={tried && missing.includes(issue)}
            onReason={(reason) => onReasons({ ...reasons, [keyOfIssue(issue)]: reason })}
          />
        ))}
      </Section>
      <NativeSelect
        label={t('prescribe.paper')}
        maw={220}
        value={paper}
        onChange={(event) => setPaper(event.currentTarget.value === 'letter' ? 'letter' : 'a4')}
        data={[
          { value: 'a4', label: t('prescribe.a4') },
          { value: 'letter', label: t('prescribe.letter') },
        ]}
      />
      <FormProblem error={error} />
      <div className={classes.buttons}>
        <Button leftSection={<Signature size={18} aria-hidden="true" />} loading={busy} onClick={submit}>
          {t('prescribe.sign')}
        </Button>
      </div>
    </>
  );
}

function dispensed({ dispenseRequest }: MedicationRequest, t: Translate): string {
  const { value, unit = '' } = dispenseRequest?.quantity ?? {};
  const repeats = t('prescribe.repeated', { count: dispenseRequest?.numberOfRepeatsAllowed ?? 0 });
  return value === undefined ? repeats : `${t('prescribe.dispense', { amount: counted(value, unit) })}, ${repeats}`;
}

function Issue({
  issue,
  reason,
  wrong,
  onReason,
}: {
  issue: DetectedIssue;
  reason: string;
  wrong: boolean;
  onReason: (reason: string) => void;
}) {
  const t = useT();
  const severity = issue.severity ?? 'low';
  const kind = issue.code?.coding?.[0]?.code ?? '';
  const tone = { high: 'bad', moderate: 'wait', low: 'neutral' }[severity] as 'bad' | 'wait' | 'neutral';
  return (
    <div className={classes.issue} data-severity={severity}>
      <div className={classes.issueHead}>
        <Label icon={TriangleAlert} tone={tone}>
          {t(`prescribe.severity.${severity}`)}
        </Label>
        {t(`prescribe.issue.${kind}`)}
      </div>
      <div lang="en">{issue.detail}</div>
      {severity !== 'low' && (
        <Textarea
          mt="sm"
          autosize
          minRows={1}
          maxLength={500}
          required={severity === 'high'}
          label={t(severity === 'high' ? 'prescribe.why' : 'prescribe.whyOptional')}
          value={reason}
          error={wrong && t('prescribe.whyMissing')}
          onChange={(event) => onReason(event.currentTarget.value)}
        />
      )}
    </div>
  );
}

function Signed({ bundle, patient }: { bundle: Bundle; patient: string }) {
  const t = useT();
  const document = bundle.entry
    ?.map(({ resource }) => resource)
    .find((each): each is DocumentReference => each?.resourceType === 'DocumentReference');
  const attachment = document?.content[0]?.attachment;
  const content = relative(attachment?.url);
  return (
    <Section>
      <div role="status" style={{ textAlign: 'center', padding: '1.5rem 0' }}>
        <FileCheck size={44} color="var(--mc-good)" aria-hidden="true" />
        <h2>{t('prescribe.done.title')}</h2>
        <p>{t('prescribe.done.text')}</p>
        <div className={classes.buttons} style={{ justifyContent: 'center' }}>
          {content && (
            <FileDownload
              variant="filled"
              reference={content}
              name={attachment?.title ?? 'prescription.pdf'}
              label={t('prescribe.download')}
            />
          )}
          <Button component={Link} to={`/patients/${patient.split('/')[1]}/medications`} variant="default">
            {t('prescribe.back')}
          </Button>
        </div>
      </div>
    </Section>
  );
}
