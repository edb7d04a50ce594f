/** What the apps look like: colours, type, spacing. The rest is in `tokens.css`. */
import { createTheme, defaultVariantColorsResolver, type MantineColorsTuple } from '@mantine/core';

/** A calm blue-green. Shade 7 on white and 3 on dark have a contrast of at least 4.5. */
const sea: MantineColorsTuple = [
  '#e8f6f7', '#d2ebed', '#a5d6da', '#76c0c7', '#50aeb6', '#379fa8', '#1f8089', '#0f6b74', '#095860', '#04434a',
];

/** Greys of the dark scheme, with a breath of the sea in them. */
const dark: MantineColorsTuple = [
  '#e9f0f1', '#c5d2d5', '#a5b5b9', '#7c8e93', '#2e3d41', '#263336', '#1d292c', '#182225', '#121b1d', '#0f1719',
];

const system = '-apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif';

export const theme = createTheme({
  primaryColor: 'sea',
  primaryShade: { light: 7, dark: 3 },
  // Whether text on the accent is light or dark depends on the scheme.
  variantColorResolver: (input) => {
    const colors = defaultVariantColorsResolver(input);
    if (input.variant !== 'filled') return colors;
    if (input.color === 'red') return { ...colors, background: 'var(--mc-danger)', hover: 'var(--mc-danger-hover)', color: '#ffffff' };
    return (input.color ?? 'sea') === 'sea' ? { ...colors, color: 'var(--mc-on-accent)' } : colors;
  },
  colors: { sea, dark },
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
    // Its header is no banner of the page.
    Modal: { defaultProps: { centered: true, radius: 'lg', padding: 'lg', attributes: { header: { role: 'presentation' } } } },
    ActionIcon: { defaultProps: { size: 'xl', variant: 'subtle' } },
  },
});
