/** What the apps look like: colours, type, spacing. The rest is in `tokens.css`. */
import { createTheme, type MantineColorsTuple } from '@mantine/core';

/** A calm blue-green. Shade 7 on white and 3 on dark have a contrast of at least 4.5. */
const sea: MantineColorsTuple = [
  '#e8f6f7', '#d2ebed', '#a5d6da', '#76c0c7', '#50aeb6', '#379fa8', '#1f8089', '#0f6b74', '#095860', '#04434a',
];

const system = '-apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif';

export const theme = createTheme({
  primaryColor: 'sea',
  primaryShade: { light: 7, dark: 3 },
  autoContrast: true,
  luminanceThreshold: 0.35,
  colors: { sea },
  fontFamily: system,
  headings: {
    fontFamily: system,
    fontWeight: '650',
    sizes: {
      h1: { fontSize: '1.625rem', lineHeight: '1.25' },
      h2: { fontSize: '1.1875rem', lineHeight: '1.35' },
      h3: { fontSize: '1rem', lineHeight: '1.4' },
    },
  },
  defaultRadius: 'md',
  radius: { xs: '4px', sm: '6px', md: '10px', lg: '14px', xl: '20px' },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    // 44 pixels: what a thumb hits.
    Button: { defaultProps: { size: 'md' } },
    TextInput: { defaultProps: { size: 'md' } },
    Textarea: { defaultProps: { size: 'md' } },
    NativeSelect: { defaultProps: { size: 'md' } },
    Select: { defaultProps: { size: 'md' } },
    Checkbox: { defaultProps: { size: 'md' } },
    Switch: { defaultProps: { size: 'md' } },
    Radio: { defaultProps: { size: 'md' } },
    RadioGroup: { defaultProps: { size: 'md' } },
    NumberInput: { defaultProps: { size: 'md' } },
    Modal: { defaultProps: { centered: true, radius: 'lg', padding: 'lg' } },
    ActionIcon: { defaultProps: { size: 'xl', variant: 'subtle' } },
  },
});
