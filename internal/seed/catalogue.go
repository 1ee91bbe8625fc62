package seed

import "emporium/internal/product"

// The demo shop is a general store by the sea. Prices are minor units of a currency with two decimals;
// minor turns them into those of the shop's.

// shelf is a category; Above is the slug of the one that it stands in.
type shelf struct{ Slug, Name, Above, Description string }

var shelves = []shelf{
	{"wear", "Wear", "", "Clothes for wind, salt and Sundays."},
	{"tops", "Tops", "wear", ""},
	{"shirts", "Shirts", "tops", "Linen and sturdy cotton, cut straight."},
	{"t-shirts", "T-Shirts", "tops", ""},
	{"knitwear", "Knitwear", "tops", "Spun and knitted within a day's drive of the harbour."},
	{"outerwear", "Outerwear", "wear", ""},
	{"raincoats", "Raincoats", "outerwear", "For the weather that we have."},
	{"overshirts", "Overshirts", "outerwear", ""},
	{"accessories", "Accessories", "wear", ""},
	{"hats-scarves", "Hats & Scarves", "accessories", ""},
	{"socks", "Socks", "accessories", ""},
	{"table-kitchen", "Table & Kitchen", "", "What is on the table and what goes into the pot."},
	{"tableware", "Tableware", "table-kitchen", ""},
	{"mugs", "Mugs & Cups", "tableware", ""},
	{"plates-bowls", "Plates & Bowls", "tableware", "Stoneware, thrown by hand and fired twice."},
	{"cooking", "Cooking", "table-kitchen", ""},
	{"kettles-teapots", "Kettles & Teapots", "cooking", ""},
	{"pans", "Pans", "cooking", "They get better with use."},
	{"boards", "Boards", "cooking", ""},
	{"kitchen-linen", "Kitchen Linen", "cooking", ""},
	{"pantry", "Pantry", "table-kitchen", ""},
	{"tea-coffee", "Tea & Coffee", "pantry", ""},
	{"preserves", "Honey & Preserves", "pantry", ""},
	{"home", "Home", "", "Warm rooms."},
	{"soft-furnishings", "Soft Furnishings", "home", ""},
	{"blankets", "Blankets", "soft-furnishings", "Wool throws from the mill up the valley."},
	{"cushions", "Cushions", "soft-furnishings", ""},
	{"light", "Light", "home", ""},
	{"lamps", "Lamps", "light", ""},
	{"candles", "Candles", "light", "Slow to burn, made without paraffin."},
	{"desk-travel", "Desk & Travel", "", "For letters, and for leaving."},
	{"paper", "Paper", "desk-travel", ""},
	{"notebooks", "Notebooks", "paper", "Sewn, so that they lie flat."},
	{"writing", "Pens & Pencils", "paper", ""},
	{"carry", "Carry", "desk-travel", ""},
	{"bags", "Bags", "carry", ""},
	{"bottles-lanterns", "Bottles & Lanterns", "carry", ""},
}

// display is a collection.
type display struct{ Slug, Title, Description string }

var displays = []display{
	{"autumn", "Autumn Arrivals", "New on the shelves since the first storm."},
	{"small-gifts", "Small Gifts", "Things that fit into a stocking or a coat pocket."},
	{"rainy-days", "For Rainy Days", "Outside in it, or inside without it."},
	{"wool", "Made of Wool", "From sheep that look at the sea."},
}

// choice is an option of an item with its values.
type choice struct {
	Name   string
	Values []string
}

func color(values ...string) choice { return choice{"Color", values} }
func size(values ...string) choice  { return choice{"Size", values} }

var (
	garment = size("S", "M", "L")
	wide    = size("S", "M", "L", "XL")
)

// item is a product of the demo shop.
type item struct {
	Title    string
	Formerly string // its name on orders that are older than renamedAt
	Type     string
	Shape    string // that is drawn; the type's when empty
	Vendor   string
	Category string
	Price    int64
	Was      int64   // before the sale that began at saleAt
	Steps    []int64 // what each value of the first choice adds to the price
	Grams    int
	Choices  []choice
	Hue      string // the color of items that come in one
	Tags     []string
	On       []string // collections
	Text     string
	Points   []string
	Status   product.Status // ACTIVE when empty
	SoldOut  bool
}

const (
	brinewell = "Brinewell Mill"
	larkmoor  = "Larkmoor Wool"
	ostrand   = "Ostrand Pottery"
	tidemark  = "Tidemark Outfitters"
	forge     = "Coldharbour Forge"
	sandgate  = "Sandgate Provisions"
	paperwork = "Kestrel Paperworks"
	lumen     = "Saltlight Workshop"
)

var catalogue = []item{
	{Title: "Harbour Linen Shirt", Type: "Shirt", Vendor: brinewell, Category: "shirts", Price: 7900, Grams: 240,
		Choices: []choice{color("Navy", "Chalk", "Moss"), garment}, Tags: []string{"linen", "summer", "bestseller"},
		Text:   "A straight linen shirt that is cool in the sun and dry again before you are back at the boat.",
		Points: []string{"100 % European linen, 170 g/m²", "Buttons of corozo nut", "Washed soft; does not shrink further"}},
	{Title: "Deckhand Work Shirt", Type: "Shirt", Vendor: tidemark, Category: "shirts", Price: 8900, Grams: 420,
		Choices: []choice{color("Slate", "Rust"), garment}, Tags: []string{"cotton", "workwear"}, On: []string{"autumn"},
		Text:   "Heavy brushed twill with a pocket that takes a notebook, made to be worn open over a T-shirt or closed to the chin.",
		Points: []string{"Brushed cotton twill, 260 g/m²", "Bar-tacked at every seam that pulls", "Two chest pockets, one with a slot for a pencil"}},
	{Title: "Striped Boatneck", Type: "T-Shirt", Shape: "Boatneck", Vendor: brinewell, Category: "t-shirts", Price: 4900, Grams: 230,
		Choices: []choice{color("Navy", "Rust"), garment}, Tags: []string{"cotton", "stripes", "bestseller"},
		Text:   "The stripe of every coast, in a dense cotton that keeps its neckline.",
		Points: []string{"Combed cotton, 220 g/m²", "Stripes are knitted in, not printed", "Side vents"}},
	{Title: "Heavy Cotton T-Shirt", Type: "T-Shirt", Vendor: brinewell, Category: "t-shirts", Price: 3200, Grams: 210,
		Choices: []choice{color("Chalk", "Sea", "Charcoal"), garment}, Tags: []string{"cotton", "basics"},
		Text:   "A plain T-shirt that feels like something. It hangs straight and does not twist in the wash.",
		Points: []string{"Organic cotton, 240 g/m²", "Taped shoulders", "Cut a little long"}},
	{Title: "Lambswool Crew Sweater", Type: "Sweater", Vendor: larkmoor, Category: "knitwear", Price: 11900, Grams: 480,
		Choices: []choice{color("Oat", "Pine"), wide}, Tags: []string{"wool", "winter", "bestseller"}, On: []string{"wool", "autumn"},
		Text:   "A soft everyday jumper with a patterned yoke, knitted in one piece so that there is no seam to itch.",
		Points: []string{"Pure new lambswool", "Knitted in the round", "Wash by hand, dry flat"}},
	{Title: "Cable Cardigan", Type: "Sweater", Shape: "Cardigan", Vendor: larkmoor, Category: "knitwear", Price: 14900, Grams: 690, Hue: "Oat",
		Choices: []choice{garment}, Tags: []string{"wool", "winter"}, On: []string{"wool"},
		Text:   "Six cables, five horn buttons, two pockets: the jacket of the house.",
		Points: []string{"Pure new wool, undyed", "Real horn buttons", "Repaired free of charge for ten years"}},
	{Title: "Merino Roll Neck", Type: "Sweater", Vendor: larkmoor, Category: "knitwear", Price: 8900, Was: 11900, Grams: 310,
		Choices: []choice{color("Berry", "Charcoal"), garment}, Tags: []string{"wool", "merino", "sale"}, On: []string{"wool"},
		Text:   "Fine enough to wear under a jacket, warm enough to do without one.",
		Points: []string{"Extra fine merino, 18.5 micron", "Machine-washable at 30 °C"}},
	{Title: "Squall Raincoat", Type: "Jacket", Vendor: tidemark, Category: "raincoats", Price: 18900, Grams: 780,
		Choices: []choice{color("Mustard", "Navy"), wide}, Tags: []string{"waterproof", "bestseller"}, On: []string{"rainy-days", "autumn"},
		Text:   "Welded seams, a hood with a brim that stays up, and pockets that drain. It has been out in worse than this.",
		Points: []string{"Recycled polyester with a matt coating", "Water column 15,000 mm", "Reflective tape at the cuffs"}},
	{Title: "Waxed Field Jacket", Type: "Jacket", Vendor: tidemark, Category: "raincoats", Price: 24900, Grams: 1350, Hue: "Moss",
		Choices: []choice{wide}, Tags: []string{"waxed", "workwear"}, On: []string{"rainy-days"},
		Text:   "Waxed cotton that creases where you do. Rewax it once a year and leave it to your daughter.",
		Points: []string{"Waxed cotton, 340 g/m²", "Cotton check lining", "A tin of wax is in the pocket"}},
	{Title: "Moleskin Overshirt", Type: "Jacket", Vendor: tidemark, Category: "overshirts", Price: 9900, Was: 12900, Grams: 760,
		Choices: []choice{color("Clay", "Slate"), garment}, Tags: []string{"cotton", "sale"},
		Text:   "Between a shirt and a jacket, like most days of the year.",
		Points: []string{"Cotton moleskin, 320 g/m²", "Two hand pockets in the side seams"}},
	{Title: "Watch Cap", Type: "Hat", Vendor: larkmoor, Category: "hats-scarves", Price: 2900, Grams: 90,
		Choices: []choice{color("Navy", "Rust", "Oat")}, Tags: []string{"wool", "gift", "bestseller"}, On: []string{"wool", "small-gifts", "autumn"},
		Text:   "A ribbed cap that covers the ears and fits into a fist.",
		Points: []string{"Pure new wool", "One size"}},
	{Title: "Cashmere Beanie", Type: "Hat", Vendor: larkmoor, Category: "hats-scarves", Price: 5900, Grams: 60, SoldOut: true,
		Choices: []choice{color("Chalk", "Berry")}, Tags: []string{"cashmere", "gift"}, On: []string{"small-gifts"},
		Text:   "Weighs next to nothing. The next batch comes when the goats are ready.",
		Points: []string{"Two-ply cashmere", "One size"}},
	{Title: "Lambswool Scarf", Type: "Scarf", Vendor: larkmoor, Category: "hats-scarves", Price: 4500, Grams: 180,
		Choices: []choice{color("Sea", "Mustard", "Charcoal")}, Tags: []string{"wool", "gift", "winter"}, On: []string{"wool", "small-gifts"},
		Text:   "Two metres of brushed lambswool, long enough to go around twice.",
		Points: []string{"Pure new lambswool", "200 × 30 cm", "Twisted fringes"}},
	{Title: "Boot Socks", Type: "Socks", Vendor: larkmoor, Category: "socks", Price: 1600, Grams: 110,
		Choices: []choice{color("Moss", "Berry"), size("36–40", "41–46")}, Tags: []string{"wool", "basics"}, On: []string{"wool"},
		Text:   "Terry soles and a cuff that stays where it is put.",
		Points: []string{"70 % wool, 28 % polyamide, 2 % elastane", "Machine-washable at 40 °C"}},
	{Title: "Everyday Socks, Set of Three", Type: "Socks", Vendor: brinewell, Category: "socks", Price: 2400, Grams: 140, Hue: "Sky",
		Choices: []choice{size("36–40", "41–46")}, Tags: []string{"cotton", "basics", "gift"}, On: []string{"small-gifts"},
		Text:   "Three pairs in colours that can be mixed when the dryer has eaten one.",
		Points: []string{"Organic cotton", "Flat toe seam"}},

	{Title: "Harbour Mug", Formerly: "Quay Mug", Type: "Mug", Vendor: ostrand, Category: "mugs", Price: 1990, Grams: 380,
		Choices: []choice{color("Sea", "Chalk", "Rust")}, Tags: []string{"stoneware", "gift", "bestseller"}, On: []string{"small-gifts", "rainy-days"},
		Text:   "A mug with room for two fingers in the handle and 35 cl of anything hot.",
		Points: []string{"Stoneware, glazed inside and out", "Dishwasher and microwave safe", "35 cl"}},
	{Title: "Espresso Cups, Pair", Type: "Mug", Vendor: ostrand, Category: "mugs", Price: 2600, Grams: 300,
		Choices: []choice{color("Charcoal", "Sand")}, Tags: []string{"stoneware", "coffee", "gift"}, On: []string{"small-gifts"},
		Text:   "Thick walls, small handles: the coffee stays hot for as long as it lasts.",
		Points: []string{"Stoneware", "7 cl each", "Stackable"}},
	{Title: "Enamel Camp Mug", Type: "Mug", Vendor: tidemark, Category: "mugs", Price: 1200, Grams: 140,
		Choices: []choice{color("Navy", "Chalk", "Pine")}, Tags: []string{"enamel", "camping"},
		Text:   "Goes on the stove, over the fire and off the table without harm.",
		Points: []string{"Enamelled steel", "40 cl"}},
	{Title: "Dinner Plate", Type: "Plate", Vendor: ostrand, Category: "plates-bowls", Price: 2800, Grams: 760,
		Choices: []choice{color("Sand", "Slate")}, Tags: []string{"stoneware"},
		Text:   "A flat plate with a low rim; no two have quite the same speckles.",
		Points: []string{"Stoneware", "Diameter 27 cm", "Dishwasher and microwave safe"}},
	{Title: "Noodle Bowl", Type: "Bowl", Vendor: ostrand, Category: "plates-bowls", Price: 3200, Grams: 690,
		Choices: []choice{color("Sea", "Charcoal")}, Tags: []string{"stoneware", "bestseller"}, On: []string{"rainy-days"},
		Text:   "Deep and a little wider at the brim, for soup that needs both hands.",
		Points: []string{"Stoneware", "90 cl", "Dishwasher and microwave safe"}},
	{Title: "Serving Bowl", Type: "Bowl", Vendor: ostrand, Category: "plates-bowls", Price: 4800, Steps: []int64{0, 1900}, Grams: 1400,
		Hue: "Chalk", Choices: []choice{size("24 cm", "30 cm")}, Tags: []string{"stoneware"},
		Text:   "For salads, for bread, or for the keys by the door.",
		Points: []string{"Stoneware", "Unglazed foot"}},
	{Title: "Stovetop Kettle", Type: "Kettle", Vendor: forge, Category: "kettles-teapots", Price: 6900, Grams: 1150,
		Choices: []choice{color("Mustard", "Charcoal")}, Tags: []string{"enamel", "bestseller"}, On: []string{"rainy-days"},
		Text:   "Whistles a third, not a scream. Works on gas, electric and induction hobs.",
		Points: []string{"Enamelled steel, beech handle", "1.8 l"}},
	{Title: "Stoneware Teapot", Type: "Teapot", Vendor: ostrand, Category: "kettles-teapots", Price: 5400, Steps: []int64{0, 1600},
		Grams: 900, Hue: "Sea", Choices: []choice{size("0.6 l", "1.1 l")}, Tags: []string{"stoneware", "tea"}, On: []string{"rainy-days"},
		Text:   "Pours without a drip, which took eleven attempts.",
		Points: []string{"Stoneware with a steel strainer", "Dishwasher safe"}},
	{Title: "Cast Iron Skillet", Type: "Pan", Vendor: forge, Category: "pans", Price: 4900, Steps: []int64{0, 1500, 2900}, Grams: 1900,
		Hue: "Charcoal", Choices: []choice{size("20 cm", "24 cm", "28 cm")}, Tags: []string{"cast iron", "bestseller"},
		Text:   "Seasoned with linseed oil, ready for the first egg. Never needs a new coating, since it has none.",
		Points: []string{"Cast iron", "For every hob, oven and fire"}},
	{Title: "Carbon Steel Pan", Type: "Pan", Vendor: forge, Category: "pans", Price: 5200, Was: 6500, Steps: []int64{0, 1200}, Grams: 1300,
		Hue: "Slate", Choices: []choice{size("24 cm", "28 cm")}, Tags: []string{"carbon steel", "sale"},
		Text:   "As hot as cast iron at half the weight.",
		Points: []string{"2.5 mm carbon steel", "Riveted handle"}},
	{Title: "Oak Chopping Board", Type: "Board", Vendor: forge, Category: "boards", Price: 4200, Steps: []int64{0, 2400}, Grams: 1800,
		Hue: "Oak", Choices: []choice{size("35 × 25 cm", "50 × 32 cm")}, Tags: []string{"oak", "gift"},
		Text:   "End-grain oak that closes over the cuts. Oil it when you think of it.",
		Points: []string{"Oak from storm-felled trees", "Rubber feet on one side"}},
	{Title: "Linen Tea Towel", Type: "Tea Towel", Vendor: brinewell, Category: "kitchen-linen", Price: 1400, Grams: 95,
		Choices: []choice{color("Rust", "Sea", "Mustard")}, Tags: []string{"linen", "gift"}, On: []string{"small-gifts"},
		Text:   "Dries glasses without fluff and dishes without complaint.",
		Points: []string{"100 % linen", "50 × 70 cm", "With a loop"}},
	{Title: "Baker's Apron", Type: "Apron", Vendor: brinewell, Category: "kitchen-linen", Price: 3900, Grams: 340,
		Choices: []choice{color("Slate", "Clay")}, Tags: []string{"linen", "workwear"},
		Text:   "Crossed straps instead of a knot, and one pocket where the hand goes by itself.",
		Points: []string{"Linen and cotton", "One size"}},
	{Title: "Breakfast Tea", Type: "Tea", Vendor: sandgate, Category: "tea-coffee", Price: 890, Steps: []int64{0, 1060}, Grams: 130,
		Hue: "Berry", Choices: []choice{{"Weight", []string{"100 g", "250 g"}}}, Tags: []string{"tea", "gift"}, On: []string{"small-gifts"},
		Text:   "Dark, malty and awake. Takes milk, does not need it.",
		Points: []string{"Black tea from Assam and Kenya", "Loose leaf", "Brew for four minutes"}},
	{Title: "Smoked Black Tea", Type: "Tea", Vendor: sandgate, Category: "tea-coffee", Price: 1250, Grams: 130, Hue: "Pine",
		Tags: []string{"tea"}, On: []string{"rainy-days"},
		Text:   "Dried over pine, like a fireside in a cup.",
		Points: []string{"Black tea", "Loose leaf, 100 g", "Brew for three minutes"}},
	{Title: "Lighthouse Roast Coffee", Type: "Coffee", Vendor: sandgate, Category: "tea-coffee", Price: 1090, Steps: []int64{0, 1700}, Grams: 280,
		Hue: "Rust", Choices: []choice{{"Weight", []string{"250 g", "750 g"}}, {"Grind", []string{"Whole beans", "Filter", "Espresso"}}},
		Tags:   []string{"coffee", "bestseller"},
		Text:   "Our everyday roast: hazelnut, a little cocoa, no sour faces.",
		Points: []string{"Arabica from Colombia and Ethiopia", "Roasted every Tuesday"}},
	{Title: "Night Watch Decaf", Type: "Coffee", Vendor: sandgate, Category: "tea-coffee", Price: 1190, Grams: 280, Hue: "Navy",
		Choices: []choice{{"Grind", []string{"Whole beans", "Filter"}}}, Tags: []string{"coffee"}, Status: product.StatusDraft,
		Text:   "Coffee for those who want to sleep as well.",
		Points: []string{"Decaffeinated with mountain water", "250 g"}},
	{Title: "Heather Honey", Type: "Preserve", Vendor: sandgate, Category: "preserves", Price: 980, Steps: []int64{0, 720}, Grams: 420,
		Hue: "Mustard", Choices: []choice{{"Weight", []string{"250 g", "500 g"}}}, Tags: []string{"honey", "gift"}, On: []string{"small-gifts"},
		Text:   "Thick as jelly and a little bitter, from hives behind the dunes.",
		Points: []string{"Raw, unblended", "May crystallise"}},
	{Title: "Damson Jam", Type: "Preserve", Vendor: sandgate, Category: "preserves", Price: 650, Grams: 390, Hue: "Berry",
		Tags: []string{"jam"}, On: []string{"autumn"},
		Text:   "More plums than sugar; the stones are out, we counted.",
		Points: []string{"65 % fruit", "230 g"}},
	{Title: "Sea Salt Caramel", Type: "Preserve", Vendor: sandgate, Category: "preserves", Price: 790, Grams: 380, Hue: "Clay", SoldOut: true,
		Tags: []string{"sweet", "gift"}, On: []string{"small-gifts"},
		Text:   "Meant for pancakes, mostly eaten with a spoon at night.",
		Points: []string{"Cream, butter, sugar, flaked salt", "220 g"}},

	{Title: "Herringbone Throw", Type: "Blanket", Vendor: larkmoor, Category: "blankets", Price: 9900, Grams: 900,
		Choices: []choice{color("Slate", "Clay", "Sea")}, Tags: []string{"wool", "bestseller"}, On: []string{"wool", "rainy-days", "autumn"},
		Text:   "The throw that everybody in the house thinks is theirs.",
		Points: []string{"Pure new wool", "140 × 200 cm", "Fringed by hand"}},
	{Title: "Wool Picnic Blanket", Type: "Blanket", Vendor: larkmoor, Category: "blankets", Price: 12900, Grams: 1500, Hue: "Rust",
		Tags: []string{"wool", "camping", "summer"}, On: []string{"wool"},
		Text:   "Wool above, waxed cotton below, a leather strap around it.",
		Points: []string{"150 × 180 cm", "Recycled wool"}},
	{Title: "Linen Cushion", Type: "Cushion", Vendor: brinewell, Category: "cushions", Price: 4500, Grams: 700,
		Choices: []choice{color("Moss", "Oat", "Berry")}, Tags: []string{"linen"},
		Text:   "Stonewashed linen around a proper feather inside.",
		Points: []string{"50 × 50 cm", "Cover opens by a wooden button", "Cover washable at 40 °C"}},
	{Title: "Tidal Table Lamp", Type: "Lamp", Vendor: lumen, Category: "lamps", Price: 13900, Grams: 2100,
		Choices: []choice{color("Sea", "Sand")}, Tags: []string{"stoneware", "light"}, On: []string{"rainy-days"},
		Text:   "A thrown foot, a linen shade, a dimmer on the cable.",
		Points: []string{"Stoneware and linen", "E27, up to 40 W", "Height 48 cm"}},
	{Title: "Brass Reading Lamp", Type: "Lamp", Vendor: lumen, Category: "lamps", Price: 15900, Grams: 1600, Hue: "Mustard",
		Tags: []string{"brass", "light"}, Status: product.StatusArchived,
		Text:   "No longer made, since the man who bent the necks has retired.",
		Points: []string{"Brass", "Height 52 cm"}},
	{Title: "Beeswax Pillar", Type: "Candle", Vendor: lumen, Category: "candles", Price: 1400, Steps: []int64{0, 700, 1500}, Grams: 350,
		Hue: "Mustard", Choices: []choice{size("10 cm", "15 cm", "20 cm")}, Tags: []string{"candle", "gift"}, On: []string{"small-gifts", "rainy-days"},
		Text:   "Pure beeswax, poured slowly. Smells of summer and needs no scent.",
		Points: []string{"Burns for 30, 45 or 60 hours", "Diameter 7 cm"}},
	{Title: "Driftwood Candle", Type: "Candle", Vendor: lumen, Category: "candles", Price: 2900, Grams: 410, Hue: "Chalk",
		Tags: []string{"candle", "scented", "gift"}, On: []string{"small-gifts", "autumn"},
		Text:   "Cedar, smoke and a trace of orange peel, in a cup that becomes a pencil pot.",
		Points: []string{"Rapeseed wax", "Burns for 40 hours"}},

	{Title: "Clothbound Notebook", Type: "Notebook", Vendor: paperwork, Category: "notebooks", Price: 1800, Grams: 310,
		Choices: []choice{color("Berry", "Navy", "Moss"), {"Ruling", []string{"Plain", "Lined", "Dotted"}}}, Tags: []string{"paper", "bestseller"},
		On:     []string{"small-gifts"},
		Text:   "Thread-sewn, opens flat, and the ink stays on its own side.",
		Points: []string{"192 pages, 100 g/m²", "A5", "Ribbon and pocket"}},
	{Title: "Pocket Notebooks, Set of Three", Type: "Notebook", Vendor: paperwork, Category: "notebooks", Price: 1100, Grams: 150,
		Hue: "Clay", Choices: []choice{{"Ruling", []string{"Plain", "Lined"}}}, Tags: []string{"paper", "gift"}, On: []string{"small-gifts"},
		Text:   "For lists that are lost on purpose.",
		Points: []string{"3 × 48 pages", "A6"}},
	{Title: "Brass Ballpoint", Type: "Pen", Shape: "Ballpoint", Vendor: paperwork, Category: "writing", Price: 3400, Grams: 38, Hue: "Mustard",
		Tags: []string{"brass", "gift"}, On: []string{"small-gifts"},
		Text:   "Heavy where the hand wants it; darkens with the years.",
		Points: []string{"Solid brass", "Takes standard refills"}},
	{Title: "Cedar Pencils, Set of Six", Type: "Pen", Vendor: paperwork, Category: "writing", Price: 950, Grams: 45,
		Choices: []choice{{"Grade", []string{"HB", "2B"}}}, Hue: "Pine", Tags: []string{"cedar", "gift"}, On: []string{"small-gifts"},
		Text:   "They smell like the inside of a good drawer.",
		Points: []string{"Cedar from certified forests", "Unvarnished"}},
	{Title: "Canvas Tote", Type: "Bag", Vendor: tidemark, Category: "bags", Price: 3600, Grams: 420,
		Choices: []choice{color("Sand", "Navy", "Mustard")}, Tags: []string{"canvas", "bestseller"},
		Text:   "Stands by itself, carries a week of groceries, folds to nothing.",
		Points: []string{"Cotton canvas, 600 g/m²", "18 l", "Handles for hand and shoulder"}},
	{Title: "Rolltop Backpack", Type: "Backpack", Vendor: tidemark, Category: "bags", Price: 14900, Grams: 1080,
		Choices: []choice{color("Pine", "Charcoal")}, Tags: []string{"waterproof", "travel"}, On: []string{"rainy-days", "autumn"},
		Text:   "Rolls shut against the rain and opens wide for the bread.",
		Points: []string{"Waxed canvas, welded base", "22 l", "Sleeve for a 15-inch computer"}},
	{Title: "Weekend Holdall", Type: "Bag", Vendor: tidemark, Category: "bags", Price: 17900, Grams: 1650, Hue: "Rust",
		Tags: []string{"canvas", "travel"}, Status: product.StatusArchived,
		Text:   "Two nights, or three if you are not vain. Its successor is being sewn.",
		Points: []string{"Canvas and bridle leather", "38 l"}},
	{Title: "Steel Bottle", Type: "Bottle", Vendor: tidemark, Category: "bottles-lanterns", Price: 2700, Grams: 290,
		Choices: []choice{color("Sky", "Pine"), size("0.5 l", "0.75 l")}, Tags: []string{"steel", "camping"},
		Text:   "Cold for a day, hot for half of one.",
		Points: []string{"Double-walled stainless steel", "Lid without plastic inside"}},
	{Title: "Storm Lantern", Type: "Lantern", Vendor: lumen, Category: "bottles-lanterns", Price: 5900, Grams: 850,
		Choices: []choice{color("Rust", "Charcoal")}, Tags: []string{"light", "camping"}, On: []string{"rainy-days", "autumn"},
		Text:   "Burns for twenty hours in wind that has put out better lamps.",
		Points: []string{"Tinned steel and glass", "For lamp oil", "Height 26 cm"}},
	{Title: "Winter Hamper", Type: "Hamper", Vendor: sandgate, Category: "pantry", Price: 8900, Grams: 3200, Hue: "Oak",
		Tags: []string{"gift", "winter"}, Status: product.StatusDraft,
		Text:   "Tea, honey, jam, candles and a pair of socks, under straw, in a basket that stays.",
		Points: []string{"Packed by hand from December on", "Willow basket"}},
}
