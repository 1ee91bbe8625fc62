package seed

import (
	"fmt"
	"math"
	"strings"
)

// tones are a color in five steps.
type tones struct{ deep, dark, base, light, pale string }

// paint replaces the names of tones in the fills and strokes of a drawing: fill="base" and so on. Wood and steel are what
// they are in every color.
func (t tones) paint(drawing string) string {
	return strings.NewReplacer(
		`"deep"`, `"`+t.deep+`"`, `"dark"`, `"`+t.dark+`"`, `"base"`, `"`+t.base+`"`, `"light"`, `"`+t.light+`"`,
		`"pale"`, `"`+t.pale+`"`, `"wood"`, `"#b98a55"`, `"bark"`, `"#8a6238"`, `"steel"`, `"#b9c0c4"`, `"cream"`, `"#f6f0e2"`,
		`"ink"`, `"#2d2a32"`, `"flame"`, `"#f2b23e"`, `"glow"`, `"#fdf0c4"`, `"leather"`, `"#8a5a3a"`,
		"\n", "", "\t", "",
	).Replace(drawing)
}

// shapes draw a product of a type or shape, about 360 units wide and high around the origin.
var shapes = map[string]func(tones) string{
	"Shirt": func(t tones) string {
		return t.paint(`<path d="M-62-168 L-122-140 L-182-8 L-128 22 L-104-30 L-104 172 L104 172 L104-30 L128 22 L182-8 L122-140 L62-168 L0-128Z" fill="base"/>
			<path d="M-104-30 L-112-74 L-94 172 L-104 172Z M104-30 L112-74 L94 172 L104 172Z" fill="dark" opacity=".55"/>
			<path d="M-182-8 L-128 22 L-122 9 L-176-21Z M182-8 L128 22 L122 9 L176-21Z" fill="dark"/>
			<path d="M-11-124 H11 V172 H-11Z" fill="light"/>
			<path d="M-62-168 L-34-176 L0-132 L-34-92 L-70-158Z M62-168 L34-176 L0-132 L34-92 L70-158Z" fill="light"/>
			<path d="M-34-176 Q0-158 34-176 L0-132Z" fill="deep"/>
			<path d="M34-62 H82 V-4 L58 10 L34-4Z" fill="dark" opacity=".5"/>` + repeat(5, func(i int) string {
			return fmt.Sprintf(`<circle cy="%d" r="5" fill="deep"/>`, -84+i*56)
		}))
	},
	"T-Shirt": func(t tones) string {
		return t.paint(`<path d="M-58-160 L-118-136 L-178-44 L-126-8 L-102-44 L-102 168 L102 168 L102-44 L126-8 L178-44 L118-136 L58-160 Q0-116-58-160Z" fill="base"/>
			<path d="M-58-160 Q0-116 58-160 L48-165 Q0-130-48-165Z" fill="dark"/>
			<path d="M-178-44 L-126-8 L-119-19 L-171-55Z M178-44 L126-8 L119-19 L171-55Z" fill="dark"/>
			<path d="M-102 156 H102 V168 H-102Z" fill="dark" opacity=".6"/>
			<path d="M-102-44 L-108-70 L-90 168 L-102 168Z M102-44 L108-70 L90 168 L102 168Z" fill="dark" opacity=".4"/>
			<path d="M-40-20 Q-10 40-30 120 M44-30 Q24 50 40 110" fill="none" stroke="dark" stroke-width="4" opacity=".35" stroke-linecap="round"/>`)
	},
	"Boatneck": func(t tones) string {
		return t.paint(`<path d="M-62-160 L-118-136 L-178-44 L-126-8 L-102-44 L-102 168 L102 168 L102-44 L126-8 L178-44 L118-136 L62-160 Q0-138-62-160Z" fill="base"/>` +
			repeat(6, func(i int) string {
				return fmt.Sprintf(`<path d="M-102 %d H102 V%d H-102Z" fill="light" opacity=".7"/>`, -64+i*38, -52+i*38)
			}) + `<path d="M-62-160 Q0-138 62-160 L52-165 Q0-148-52-165Z" fill="dark"/>
			<path d="M-178-44 L-126-8 L-119-19 L-171-55Z M178-44 L126-8 L119-19 L171-55Z" fill="dark"/>
			<path d="M-102 156 H102 V168 H-102Z" fill="dark" opacity=".6"/>
			<path d="M-102-44 L-108-70 L-90 168 L-102 168Z" fill="dark" opacity=".4"/>`)
	},
	"Sweater": func(t tones) string {
		return t.paint(`<path d="M-52-162 L-116-140 Q-150-120-158-70 L-186 112 L-132 124 L-104 6 L-104 152 L104 152 L104 6 L132 124 L186 112 L158-70 Q150-120 116-140 L52-162 Q0-138-52-162Z" fill="base"/>
			<path d="M-104 150 H104 V176 Q0 182-104 176Z M-188 108 L-131 121 L-135 142 L-191 130Z M188 108 L131 121 L135 142 L191 130Z" fill="dark"/>
			<path d="M-56-170 Q0-184 56-170 L52-146 Q0-120-52-146Z" fill="dark"/>
			<path d="M-40-166 Q0-174 40-166 Q0-144-40-166Z" fill="deep"/>
			<path d="M-104 8 L-110-40 L-92 152 L-104 152Z M104 8 L110-40 L92 152 L104 152Z" fill="dark" opacity=".5"/>` +
			repeat(9, func(i int) string {
				x := -96 + i*24
				return fmt.Sprintf(`<path d="M%d-84 l12-14 12 14 -12 14Z" fill="pale"/><path d="M%d-56 l6-7 6 7 -6 7Z" fill="light"/><path d="M%d-112 l6-7 6 7 -6 7Z" fill="light"/>`, x-12, x-6, x-6)
			}) + repeat(14, func(i int) string {
			return fmt.Sprintf(`<path d="M%d 152 v26" stroke="base" stroke-width="3"/>`, -97+i*15)
		}))
	},
	"Cardigan": func(t tones) string {
		return t.paint(`<path d="M-56-170 Q0-184 56-170 L0 20Z" fill="deep"/>
			<path d="M-52-164 L-116-140 Q-150-120-158-70 L-186 112 L-132 124 L-104 6 L-104 152 H104 L104 6 L132 124 L186 112 L158-70 Q150-120 116-140 L52-164 L0 0Z" fill="base"/>
			<path d="M-104 150 H104 V176 Q0 182-104 176Z M-188 108 L-131 121 L-135 142 L-191 130Z M188 108 L131 121 L135 142 L191 130Z" fill="dark"/>
			<path d="M-104 8 L-110-40 L-92 152 L-104 152Z M104 8 L110-40 L92 152 L104 152Z" fill="dark" opacity=".5"/>
			<path d="M-58-168 L-40-172 L12 0 V176 H-12 V4Z M58-168 L40-172 L-6-20 L6 14Z" fill="light"/>` +
			repeat(24, func(i int) string {
				return fmt.Sprintf(`<path d="M%d %d q12 9 0 22 M%[1]d %[2]d q-12 9 0 22" fill="none" stroke="dark" stroke-width="4" opacity=".7"/>`, []int{-70, -40, 40, 70}[i%4], -44+i/4*30)
			}) + repeat(5, func(i int) string { return fmt.Sprintf(`<circle cy="%d" r="7" fill="leather"/>`, 20+i*34) }))
	},
	"Jacket": func(t tones) string {
		return t.paint(`<path d="M-70-140 Q-64-188 0-192 Q64-188 70-140 Q40-112 0-112 Q-40-112-70-140Z" fill="dark"/>
			<path d="M-44-140 Q-40-168 0-170 Q40-168 44-140 Q20-122 0-122 Q-20-122-44-140Z" fill="deep"/>
			<path d="M-66-150 L-120-126 Q-148-110-156-66 L-184 88 L-130 104 L-106-6 L-110 176 L110 176 L106-6 L130 104 L184 88 L156-66 Q148-110 120-126 L66-150 Q40-118 0-118 Q-40-118-66-150Z" fill="base"/>
			<path d="M-14-118 H14 V176 H-14Z" fill="dark"/>
			<path d="M0-118 V176" stroke="light" stroke-width="4" stroke-dasharray="9 7"/>
			<path d="M-92 60 H-34 V126 H-92Z M92 60 H34 V126 H92Z" fill="dark" opacity=".55"/>
			<path d="M-96 52 H-30 V78 H-96Z M96 52 H30 V78 H96Z" fill="light"/>
			<circle cx="-63" cy="66" r="5" fill="deep"/><circle cx="63" cy="66" r="5" fill="deep"/>
			<path d="M-110 164 H110 V176 H-110Z M-184 88 L-130 104 L-127 90 L-181 74Z M184 88 L130 104 L127 90 L181 74Z" fill="dark"/>
			<path d="M-106-6 L-112-50 L-96 176 L-110 176Z M106-6 L112-50 L96 176 L110 176Z" fill="dark" opacity=".5"/>`)
	},
	"Hat": func(t tones) string {
		return t.paint(`<path d="M-136 70 Q-150-142 0-146 Q150-142 136 70Z" fill="base"/>` + repeat(9, func(i int) string {
			return fmt.Sprintf(`<path d="M%d 70 Q%d-70 %d-142" fill="none" stroke="dark" stroke-width="5" opacity=".45"/>`, -120+i*30, (-120+i*30)*9/10, (-4+i)*9)
		}) + `<rect x="-152" y="56" width="304" height="84" rx="26" fill="light"/>` + repeat(15, func(i int) string {
			return fmt.Sprintf(`<path d="M%d 62 v72" stroke="base" stroke-width="6"/>`, -133+i*19)
		}) + `<rect x="62" y="82" width="54" height="34" rx="4" fill="leather"/><path d="M72 99 h34" stroke="cream" stroke-width="3"/>`)
	},
	"Scarf": func(t tones) string {
		return t.paint(`<path d="M-20-40 L-64 150 H26 L46-30Z" fill="dark"/>
			<path d="M16-30 L44 164 H132 L86-48Z" fill="base"/>
			<path d="M-130-70 Q-120-160 0-160 Q120-160 130-70 Q96-6 0-6 Q-96-6-130-70Z" fill="base"/>
			<path d="M-86-86 Q-70-124 0-124 Q70-124 86-86 Q60-58 0-58 Q-60-58-86-86Z" fill="deep"/>
			<path d="M-130-70 Q-96-6 0-6 Q96-6 130-70 Q100-34 0-34 Q-100-34-130-70Z" fill="light"/>
			<path d="M-44 66 L46 66 L42 84 L-49 84Z M-52 100 L38 100 L35 112 L-55 112Z" fill="light" opacity=".8"/>
			<path d="M31 76 L112 76 L116 94 L34 94Z M36 112 L120 112 L123 124 L38 124Z" fill="pale" opacity=".8"/>` +
			repeat(8, func(i int) string {
				return fmt.Sprintf(`<path d="M%d 148 l-4 30" stroke="dark" stroke-width="5"/><path d="M%d 162 l4 30" stroke="base" stroke-width="5"/>`, -58+i*12, 49+i*11)
			}))
	},
	"Socks": func(t tones) string {
		sock := `<path d="M-40-168 H44 L40 40 Q40 62 58 78 L118 128 Q146 156 118 176 Q90 190 62 172 L-30 106 Q-46 92-44 60Z" fill="base"/>
			<path d="M-42-170 H46 V-116 H-42Z" fill="light"/><path d="M-44 52 Q-6 50 10 92 L-28 107 Q-46 92-44 60Z" fill="dark"/>
			<path d="M86 102 L118 128 Q146 156 118 176 Q98 186 78 178 Q62 140 86 102Z" fill="dark"/>
			<path d="M-42-92 H44 V-78 H-42Z M-42-62 H44 V-52 H-42Z" fill="pale" opacity=".8"/>` + repeat(7, func(i int) string {
			return fmt.Sprintf(`<path d="M%d-166 v46" stroke="base" stroke-width="4"/>`, -34+i*12)
		})
		return t.paint(`<g transform="translate(-84 -6) rotate(6) scale(.96)">` + sock + `</g><g transform="translate(28 4) rotate(-4)">` + sock + `</g>`)
	},
	"Mug": func(t tones) string {
		return t.paint(`<path d="M96-58 Q188-70 184 18 Q178 100 84 92 L88 58 Q144 66 148 14 Q150-32 94-24Z" fill="dark"/>
			<path d="M-122-112 H112 Q116 60 92 150 Q86 172 50 172 H-60 Q-96 172-102 150 Q-126 60-122-112Z" fill="base"/>
			<path d="M-122-112 H-66 Q-70 70-46 172 H-60 Q-96 172-102 150 Q-126 60-122-112Z" fill="light" opacity=".6"/>
			<path d="M-113 78 Q-6 108 104 78 Q100 120 92 150 Q86 172 50 172 H-60 Q-96 172-102 150 Q-110 118-113 78Z" fill="pale" opacity=".75"/>
			<ellipse cx="-5" cy="-112" rx="117" ry="27" fill="light"/><ellipse cx="-5" cy="-110" rx="103" ry="21" fill="deep"/>
			<path d="M-92-101 Q-4-76 82-101 Q40-88-4-88 Q-52-88-92-101Z" fill="bark"/>
			<path d="M-40-150 q-18-22 0-44 q14-16 2-36 M14-152 q-18-22 0-44 q14-16 2-36" fill="none" stroke="cream" stroke-width="8" stroke-linecap="round" opacity=".7"/>`)
	},
	"Plate": func(t tones) string {
		return t.paint(`<circle r="172" fill="dark"/><circle r="168" cy="-4" fill="base"/><circle r="150" cy="-4" fill="light" opacity=".55"/>
			<circle r="112" cy="-4" fill="base"/><circle r="104" cy="-2" fill="light" opacity=".35"/>
			<path d="M-120-96 A152 152 0 0 1 40-148" fill="none" stroke="pale" stroke-width="10" stroke-linecap="round" opacity=".8"/>` +
			repeat(42, func(i int) string { // speckles, spread by the golden angle
				x, y := spiral(i, 25)
				return fmt.Sprintf(`<circle cx="%.0f" cy="%.0f" r="%d" fill="deep" opacity=".35"/>`, x, y-4, 1+i%3)
			}))
	},
	"Bowl": func(t tones) string {
		return t.paint(`<path d="M-62 132 H62 L54 164 H-54Z" fill="deep"/>
			<path d="M-176-46 H176 Q168 140 40 150 H-40 Q-168 140-176-46Z" fill="base"/>
			<path d="M-176-46 H-112 Q-110 110-30 150 H-40 Q-168 140-176-46Z" fill="light" opacity=".55"/>
			<path d="M-169 6 Q0 46 169 6 Q165 24 160 38 Q0 78-160 38 Q-165 24-169 6Z" fill="pale" opacity=".8"/>
			<ellipse cy="-46" rx="176" ry="44" fill="light"/><ellipse cy="-43" rx="160" ry="35" fill="deep"/><ellipse cy="-34" rx="140" ry="24" fill="dark"/>`)
	},
	"Kettle": func(t tones) string {
		return t.paint(`<path d="M-96-60 Q-100-176 0-178 Q100-176 96-60" fill="none" stroke="steel" stroke-width="14"/>
			<path d="M-52-184 Q0-198 52-184 Q60-164 46-164 Q0-176-46-164 Q-60-164-52-184Z" fill="wood"/>
			<path d="M104 46 Q150 20 164-60 L196-56 Q186 70 116 106Z" fill="dark"/>
			<path d="M-62-66 H62 Q142-20 146 92 Q146 164 110 168 H-110 Q-146 164-146 92 Q-142-20-62-66Z" fill="base"/>
			<path d="M-62-66 H-30 Q-100-10-104 90 Q-104 160-84 168 H-110 Q-146 164-146 92 Q-142-20-62-66Z" fill="light" opacity=".6"/>
			<path d="M-142 126 Q0 146 142 126 Q136 166 110 168 H-110 Q-136 166-142 126Z" fill="dark" opacity=".6"/>
			<path d="M-70-58 Q0-104 70-58 Q0-44-70-58Z" fill="dark"/><circle cy="-94" r="15" fill="wood"/>`)
	},
	"Teapot": func(t tones) string {
		return t.paint(`<path d="M-100-20 Q-192-34-186 44 Q-178 112-92 104 L-92 76 Q-152 84-156 40 Q-158 6-100 14Z" fill="dark"/>
			<path d="M94 76 Q136 58 146-32 Q150-58 190-62 L194-40 Q176-36 172-6 Q160 110 92 128Z" fill="dark"/>
			<path d="M-50-78 H50 Q128-44 126 52 Q124 152 56 164 H-56 Q-124 152-126 52 Q-128-44-50-78Z" fill="base"/>
			<path d="M-50-78 H-24 Q-88-30-86 56 Q-84 142-40 164 H-56 Q-124 152-126 52 Q-128-44-50-78Z" fill="light" opacity=".6"/>
			<path d="M-125 44 Q0 84 125 44 Q127 60 124 76 Q0 116-124 76 Q-127 60-125 44Z" fill="pale" opacity=".75"/>
			<path d="M-66-72 Q0-136 66-72 Q0-56-66-72Z" fill="light"/><circle cy="-122" r="17" fill="dark"/>`)
	},
	"Pan": func(t tones) string {
		return t.paint(`<g transform="rotate(-38)"><path d="M92-17 L228-13 Q246 0 228 13 L92 17Z" fill="dark"/>
			<ellipse cx="222" rx="9" ry="6" fill="cream" opacity=".85"/></g><circle cx="-26" cy="30" r="142" fill="dark"/>
			<circle cx="-26" cy="26" r="138" fill="base"/><circle cx="-26" cy="28" r="116" fill="deep"/>
			<path d="M-122-34 A116 116 0 0 1 4-84" fill="none" stroke="light" stroke-width="9" stroke-linecap="round" opacity=".8"/>
			<path d="M-92 22 q-8-44 36-52 q26-4 40 12 q44-4 50 36 q4 46-46 54 q-74 10-80-50Z" fill="cream"/>
			<circle cx="-30" cy="34" r="29" fill="flame"/><path d="M-46 22 q6-12 20-12" fill="none" stroke="glow" stroke-width="6" stroke-linecap="round"/>`)
	},
	"Tea Towel": func(t tones) string {
		return t.paint(`<path d="M-150-152 H150" stroke="wood" stroke-width="16" stroke-linecap="round"/>
			<path d="M-112-158 H108 V176 Q60 166 20 174 Q-50 186-112 172Z" fill="#e6d9bd"/>
			<path d="M-112-158 H-70 V176 Q-92 176-112 172Z" fill="pale" opacity=".7"/>
			<path d="M-90-158 H-62 V176 L-90 174Z M62-158 H90 V172 L62 170Z" fill="base" opacity=".85"/>
			<path d="M-112 92 H108 V124 H-112Z M-112 136 H108 V146 H-112Z M-112 72 H108 V80 H-112Z" fill="base" opacity=".85"/>
			<path d="M-112-158 H108 V-136 H-112Z" fill="dark" opacity=".25"/>`)
	},
	"Apron": func(t tones) string {
		return t.paint(`<path d="M-58-132 Q-70-196 0-198 Q70-196 58-132" fill="none" stroke="dark" stroke-width="13"/>
			<path d="M-150-14 L-104-20 M150-14 L104-20" stroke="dark" stroke-width="12" stroke-linecap="round"/>
			<path d="M-68-138 H68 Q72-54 122-30 L130 178 Q0 190-130 178 L-122-30 Q-72-54-68-138Z" fill="base"/>
			<path d="M-68-138 H68 L69-118 H-69Z" fill="light"/>
			<path d="M-66 34 H66 V108 Q66 122 52 122 H-52 Q-66 122-66 108Z" fill="dark" opacity=".65"/><path d="M-66 34 H66 V48 H-66Z" fill="light"/>
			<path d="M0 50 V120" stroke="light" stroke-width="3" stroke-dasharray="7 6"/>
			<path d="M-122-30 Q-90-44-80-76 L-96 180 L-130 178Z" fill="light" opacity=".4"/>`)
	},
	"Board": func(t tones) string {
		return t.paint(`<g transform="rotate(-16)"><rect x="-112" y="-132" width="224" height="300" rx="22" fill="dark"/>
			<rect x="-112" y="-140" width="224" height="300" rx="22" fill="base"/>` + repeat(5, func(i int) string {
			return fmt.Sprintf(`<path d="M%d-138 V158" stroke="dark" stroke-width="2" opacity=".6"/>`, -75+i*37)
		}) + repeat(12, func(i int) string {
			return fmt.Sprintf(`<path d="M%d %d q14 6 24 0" fill="none" stroke="dark" stroke-width="2" opacity=".5"/>`, -106+i%6*37, -110+i*37%240)
		}) + `<rect x="-32" y="-122" width="64" height="20" rx="10" fill="cream"/></g>
			<g transform="translate(30 52) rotate(20)"><circle r="50" fill="#c8442f"/><path d="M-12-46 q12 12 24 0 q-4 18-12 20 q-8-2-12-20Z" fill="#4e7a3a"/>
			<path d="M-30-14 q6-16 20-20" fill="none" stroke="#e88a76" stroke-width="7" stroke-linecap="round"/></g>`)
	},
	"Tea": func(t tones) string {
		return t.paint(`<rect x="-96" y="-112" width="192" height="284" rx="14" fill="base"/><rect x="-96" y="-112" width="56" height="284" rx="14" fill="light" opacity=".5"/>
			<rect x="-104" y="-164" width="208" height="62" rx="12" fill="dark"/><rect x="-104" y="-164" width="58" height="62" rx="12" fill="base" opacity=".7"/>
			<rect x="-66" y="-54" width="132" height="160" rx="8" fill="cream"/>
			<path d="M0 72 Q-52 26-6-30 Q4-2 34 8 Q42 52 0 72Z" fill="#6f8a4e"/><path d="M0 84 Q0 30-6-26" fill="none" stroke="#48602f" stroke-width="4"/>
			<path d="M-40 88 H40" stroke="base" stroke-width="5"/><path d="M-96 132 H96 V144 H-96Z" fill="pale" opacity=".7"/>`)
	},
	"Coffee": func(t tones) string {
		return t.paint(`<path d="M-104-128 L104-128 L118 168 Q0 184-118 168Z" fill="base"/><path d="M-104-128 L-62-128 L-82 176 Q-104 173-118 168Z" fill="light" opacity=".5"/>
			<path d="M-104-172 H104 V-120 H-104Z" fill="dark"/><path d="M-122-150 H122" stroke="steel" stroke-width="10" stroke-linecap="round"/>
			<rect x="-68" y="-60" width="136" height="164" rx="68" fill="cream"/>
			<g transform="translate(-2 24) rotate(28)"><ellipse rx="34" ry="48" fill="bark"/><path d="M-4-46 Q-20-14 2 2 Q20 18 4 46" fill="none" stroke="cream" stroke-width="6"/></g>
			<circle cx="86" cy="-84" r="11" fill="deep"/><circle cx="86" cy="-84" r="4" fill="light"/>`)
	},
	"Preserve": func(t tones) string {
		return t.paint(`<path d="M-92-106 H92 Q118-88 118-52 V138 Q118 172 84 172 H-84 Q-118 172-118 138 V-52 Q-118-88-92-106Z" fill="pale"/>
			<path d="M-112-40 Q0-62 112-40 V136 Q112 166 82 166 H-82 Q-112 166-112 136Z" fill="base"/>
			<path d="M-112-40 Q-90-46-76-48 V166 H-82 Q-112 166-112 136Z" fill="light" opacity=".7"/><ellipse cy="-43" rx="110" ry="13" fill="light"/>
			<rect x="-74" y="2" width="148" height="112" rx="10" fill="cream"/><path d="M-48 40 H48 M-32 62 H32 M-40 84 H40" stroke="deep" stroke-width="6" stroke-linecap="round"/>
			<path d="M-118-156 Q0-196 118-156 L128-108 Q100-92 84-104 Q60-88 34-104 Q0-86-34-104 Q-60-88-84-104 Q-100-92-128-108Z" fill="dark"/>
			<path d="M-102-120 Q0-136 102-120" fill="none" stroke="wood" stroke-width="9"/>` + repeat(4, func(i int) string {
			return fmt.Sprintf(`<path d="M%d-160 l10 36" stroke="light" stroke-width="5" opacity=".6"/>`, -84+i*50)
		}))
	},
	"Blanket": func(t tones) string {
		layer := func(y int, fill string) string {
			return fmt.Sprintf(`<path d="M-150 %d H140 Q176 %d 176 %d Q176 %d 140 %d H-150Z" fill="%s"/>`, y, y, y+35, y+70, y+70, fill)
		}
		return t.paint(layer(96, "dark") + layer(28, "base") + layer(-40, "light") + layer(-108, "base") + repeat(12, func(i int) string {
			return fmt.Sprintf(`<path d="M%d-104 l12 31 l12-31 M%[1]d 32 l12 31 l12-31" fill="none" stroke="pale" stroke-width="4" opacity=".75"/>`, -142+i*24)
		}) + repeat(16, func(i int) string {
			return fmt.Sprintf(`<path d="M-148 %d h-24" stroke="pale" stroke-width="4"/>`, -100+i*17)
		}) + `<path d="M-40-110 H8 V168 H-40Z" fill="leather"/><path d="M-34-110 V168 M2-110 V168" stroke="cream" stroke-width="2" stroke-dasharray="6 5"/>
			<rect x="-48" y="-64" width="64" height="50" rx="8" fill="none" stroke="steel" stroke-width="9"/>`)
	},
	"Cushion": func(t tones) string {
		return t.paint(`<path d="M-168-150 Q0-116 168-150 Q140 0 168 158 Q0 126-168 158 Q-140 0-168-150Z" fill="base"/>
			<path d="M-168-150 Q-100-136-60-132 Q-120 0-60 138 Q-110 146-168 158 Q-140 0-168-150Z" fill="light" opacity=".45"/>
			<path d="M-146-130 Q0-98 146-130 Q122 0 146 136 Q0 106-146 136 Q-122 0-146-130Z" fill="none" stroke="pale" stroke-width="3" stroke-dasharray="9 8"/>
			<path d="M0 4 Q-60-40-120-60 M0 4 Q70-36 122-64 M0 4 Q-64 44-116 78 M0 4 Q66 46 118 80" fill="none" stroke="dark" stroke-width="5" opacity=".45" stroke-linecap="round"/>
			<circle cy="4" r="17" fill="wood"/><circle cx="-5" cy="4" r="3" fill="bark"/><circle cx="5" cy="4" r="3" fill="bark"/>`)
	},
	"Lamp": func(t tones) string {
		return t.paint(`<path d="M-124-14 H124 L210 178 H-210Z" fill="glow" opacity=".55"/><path d="M-6-20 H6 V60 H-6Z" fill="steel"/>
			<path d="M-26 34 H26 Q86 60 82 112 Q80 158 44 174 H-44 Q-80 158-82 112 Q-86 60-26 34Z" fill="base"/>
			<path d="M-26 34 H-8 Q-56 62-52 114 Q-50 160-28 174 H-44 Q-80 158-82 112 Q-86 60-26 34Z" fill="light" opacity=".6"/>
			<path d="M-81 104 Q0 128 81 104 Q82 118 79 130 Q0 152-79 130 Q-82 118-81 104Z" fill="pale" opacity=".7"/>
			<path d="M-70-178 H70 L130-14 H-130Z" fill="cream"/><path d="M-70-178 H-38 L-76-14 H-130Z" fill="glow"/>
			<path d="M-72-178 H72 L75-168 H-75Z M-127-24 H127 L131-12 H-131Z" fill="dark"/>`)
	},
	"Candle": func(t tones) string {
		return t.paint(`<circle cy="-138" r="66" fill="glow" opacity=".6"/><path d="M0-82 V-112" stroke="ink" stroke-width="5"/>
			<path d="M0-186 Q36-138 18-114 Q0-98-18-114 Q-36-138 0-186Z" fill="flame"/><path d="M0-152 Q15-128 8-114 Q0-106-8-114 Q-15-128 0-152Z" fill="cream"/>
			<path d="M-84-76 H84 V154 Q84 172 60 172 H-60 Q-84 172-84 154Z" fill="base"/><path d="M-84-76 H-42 V172 H-60 Q-84 172-84 154Z" fill="light" opacity=".6"/>
			<ellipse cy="-76" rx="84" ry="20" fill="light"/><ellipse cy="-74" rx="60" ry="12" fill="pale"/>
			<path d="M84-76 V-6 Q84 14 70 10 Q62 4 62-14 Q58-32 44-34 Q62-62 84-76Z" fill="pale" opacity=".8"/>
			<path d="M-84 60 H84 V118 H-84Z" fill="cream" opacity=".85"/><path d="M-44 80 H44 M-28 98 H28" stroke="deep" stroke-width="5" stroke-linecap="round"/>`)
	},
	"Notebook": func(t tones) string {
		return t.paint(`<g transform="rotate(7)"><rect x="-118" y="-160" width="252" height="336" rx="10" fill="deep"/><rect x="-112" y="-164" width="238" height="330" rx="4" fill="cream"/>
			<path d="M-112 152 H126 M-112 158 H126 M120-164 V166" stroke="#d8cfbb" stroke-width="2"/></g>
			<g transform="rotate(3)"><rect x="-128" y="-170" width="248" height="336" rx="12" fill="base"/><path d="M-128-158 Q-128-170-116-170 H-92 V166 H-116 Q-128 166-128 154Z" fill="dark"/>
			<rect x="-50" y="-110" width="132" height="78" rx="5" fill="cream"/><path d="M-30-82 H62 M-30-60 H34" stroke="base" stroke-width="5" stroke-linecap="round"/>
			<path d="M88-170 H100 V166 H88Z" fill="deep" opacity=".85"/><path d="M20 164 V206 L30 194 L40 206 V164Z" fill="#b5583a"/></g>`)
	},
	"Pen": func(t tones) string {
		one := func(x, turn int) string {
			return fmt.Sprintf(`<g transform="translate(%d 0) rotate(%d)"><rect x="-15" y="-176" width="30" height="262" rx="6" fill="base"/>
				<rect x="-15" y="-176" width="11" height="262" rx="5" fill="light" opacity=".8"/><rect x="-15" y="-178" width="30" height="34" rx="7" fill="dark"/>
				<rect x="-15" y="-140" width="30" height="7" fill="pale"/><path d="M-15 84 H15 L3 168 H-3Z" fill="wood"/><path d="M-5 138 H5 L0 178Z" fill="ink"/></g>`, x, turn)
		}
		return t.paint(one(-120, -12) + one(-72, -7) + one(-24, -2) + one(24, 3) + one(72, 8) + one(120, 13))
	},
	"Ballpoint": func(t tones) string {
		return t.paint(`<g transform="rotate(34)"><rect x="-9" y="-198" width="18" height="34" rx="6" fill="steel"/><rect x="-24" y="-172" width="48" height="262" rx="9" fill="base"/>
			<rect x="-24" y="-172" width="17" height="262" rx="8" fill="light" opacity=".8"/><path d="M-24 88 H24 L7 160 H-7Z" fill="dark"/><path d="M-7 158 H7 L3 186 H-3Z" fill="steel"/>
			<path d="M12-156 H34 V-46 Q28-36 22-46 V-142 H12Z" fill="deep"/><path d="M-24-26 H24 V-18 H-24Z M-24-8 H24 V0 H-24Z" fill="dark"/></g>
			<path d="M-196 176 q26-34 46-6 t44-10 q12-12 22 0" fill="none" stroke="ink" stroke-width="5" stroke-linecap="round"/>`)
	},
	"Bag": func(t tones) string {
		return t.paint(`<path d="M-70-48 Q-74-184 0-186 Q74-184 70-48" fill="none" stroke="dark" stroke-width="17"/>
			<path d="M-134-70 H134 L152 160 Q152 176 132 176 H-132 Q-152 176-152 160Z" fill="base"/>
			<path d="M-134-70 H-84 L-98 176 H-132 Q-152 176-152 160Z" fill="light" opacity=".5"/>
			<path d="M-152 128 L-149 122 Q0 140 149 122 L152 160 Q152 176 132 176 H-132 Q-152 176-152 160Z" fill="dark" opacity=".7"/>
			<path d="M-80-70 L-66 20 H-42 L-54-70Z M80-70 L66 20 H42 L54-70Z" fill="leather"/><path d="M-134-70 H134 L135-54 H-135Z" fill="light"/>
			<circle cx="-56" cy="8" r="5" fill="steel"/><circle cx="56" cy="8" r="5" fill="steel"/><rect x="-30" y="44" width="60" height="40" rx="4" fill="cream"/><path d="M-16 64 H16" stroke="dark" stroke-width="4"/>`)
	},
	"Backpack": func(t tones) string {
		return t.paint(`<path d="M-44-150 Q-44-194 0-194 Q44-194 44-150" fill="none" stroke="deep" stroke-width="13"/>
			<path d="M-110-96 Q-172-60-164 110 L-132 116 Q-140-20-104-60Z M110-96 Q172-60 164 110 L132 116 Q140-20 104-60Z" fill="deep"/>
			<path d="M-112-90 H112 Q134 20 130 140 Q128 176 96 176 H-96 Q-128 176-130 140 Q-134 20-112-90Z" fill="base"/>
			<path d="M-112-90 H-66 Q-92 40-84 176 H-96 Q-128 176-130 140 Q-134 20-112-90Z" fill="light" opacity=".45"/>
			<path d="M-118-150 H118 Q128-120 114-84 H-114 Q-128-120-118-150Z" fill="dark"/><path d="M-118-150 H118 V-132 H-118Z" fill="light" opacity=".7"/>
			<path d="M-86 46 H86 V134 Q86 150 70 150 H-70 Q-86 150-86 134Z" fill="dark" opacity=".8"/><path d="M-90 38 H90 V64 H-90Z" fill="light"/>
			<path d="M-60-132 H-40 V-8 H-60Z M40-132 H60 V-8 H40Z" fill="leather"/><rect x="-66" y="-34" width="32" height="22" rx="4" fill="none" stroke="steel" stroke-width="6"/><rect x="34" y="-34" width="32" height="22" rx="4" fill="none" stroke="steel" stroke-width="6"/>`)
	},
	"Bottle": func(t tones) string {
		return t.paint(`<rect x="-36" y="-186" width="72" height="58" rx="12" fill="steel"/><path d="M-18-190 Q0-214 18-190" fill="none" stroke="steel" stroke-width="9"/>
			<path d="M-34-132 H34 Q38-108 62-92 Q76-82 76-54 V146 Q76 174 48 174 H-48 Q-76 174-76 146 V-54 Q-76-82-62-92 Q-38-108-34-132Z" fill="base"/>
			<path d="M-34-132 H-14 Q-18-106-42-90 Q-46-82-46-54 V174 H-48 Q-76 174-76 146 V-54 Q-76-82-62-92 Q-38-108-34-132Z" fill="light" opacity=".65"/>
			<path d="M-76 128 H76 V146 Q76 174 48 174 H-48 Q-76 174-76 146Z" fill="steel"/><path d="M-36-136 H36 V-124 H-36Z" fill="dark"/>
			<path d="M-14 8 q14-18 28 0 t28 0 M-28 30 q14-18 28 0 t28 0 M-14 52 q14-18 28 0 t28 0" fill="none" stroke="pale" stroke-width="6" stroke-linecap="round" transform="translate(-6 -10)"/>`)
	},
	"Lantern": func(t tones) string {
		return t.paint(`<path d="M-86-60 Q-96-196 0-198 Q96-196 86-60" fill="none" stroke="steel" stroke-width="8"/>
			<path d="M-44-132 H44 L66-96 H-66Z" fill="base"/><rect x="-24" y="-158" width="48" height="28" rx="8" fill="dark"/>
			<path d="M-100-92 V104 M100-92 V104" stroke="dark" stroke-width="12"/><path d="M-106-98 H106 V-84 H-106Z" fill="dark"/>
			<path d="M-58-84 H58 Q84 0 58 92 H-58 Q-84 0-58-84Z" fill="glow"/><path d="M-58-84 H-34 Q-60 0-34 92 H-58 Q-84 0-58-84Z" fill="cream" opacity=".9"/>
			<path d="M0-46 Q36 8 20 40 Q0 58-20 40 Q-36 8 0-46Z" fill="flame"/><path d="M0-6 Q14 18 8 36 Q0 44-8 36 Q-14 18 0-6Z" fill="cream"/><path d="M-12 50 H12 V92 H-12Z" fill="steel"/>
			<path d="M-72 90 H72 V112 H-72Z" fill="dark"/><path d="M-108 108 H108 L122 150 Q122 172 96 172 H-96 Q-122 172-122 150Z" fill="base"/>
			<path d="M-108 108 H-62 L-70 172 H-96 Q-122 172-122 150Z" fill="light" opacity=".55"/><circle cx="96" cy="136" r="12" fill="steel"/>`)
	},
	"Hamper": func(t tones) string {
		return t.paint(`<path d="M-120-20 Q-120-190 0-190 Q120-190 120-20" fill="none" stroke="dark" stroke-width="17"/>
			<rect x="-92" y="-104" width="62" height="110" rx="8" fill="#8d3b58"/><rect x="-86" y="-74" width="50" height="40" fill="cream"/>
			<rect x="32" y="-120" width="70" height="126" rx="10" fill="#2f5d4d"/><rect x="38" y="-86" width="58" height="44" fill="cream"/>
			<rect x="-22" y="-84" width="46" height="90" rx="4" fill="flame"/><path d="M1-84 v-16" stroke="ink" stroke-width="4"/>
			<path d="M-160-16 Q-120-48-84-20 Q-50-50-14-20 Q24-52 60-20 Q106-50 160-16 L150 10 H-150Z" fill="#e3cd8f"/>
			<path d="M-168-8 H168 L138 160 Q136 176 116 176 H-116 Q-136 176-138 160Z" fill="base"/>` + repeat(24, func(i int) string {
			return fmt.Sprintf(`<path d="M%d %d q14-14 28 0" fill="none" stroke="dark" stroke-width="7"/><path d="M%[1]d %[3]d q14 14 28 0" fill="none" stroke="light" stroke-width="6"/>`,
				-118+i%8*30, 40+i/8*44, 48+i/8*44)
		}) + `<path d="M-172-14 H172 V14 H-172Z" fill="dark"/>`)
	},
}

func repeat(n int, draw func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(draw(i))
	}
	return b.String()
}

// spiral returns the ith point of a sunflower, which spreads evenly.
func spiral(i int, step float64) (x, y float64) {
	angle, radius := float64(i)*2.39996, step*math.Sqrt(float64(i))
	return radius * math.Cos(angle), radius * math.Sin(angle)
}
