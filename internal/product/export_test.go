package product

// What the rows of the service's statements are read by.
var (
	Products          = products
	Variants          = variants
	Options           = options
	MediaTable        = media
	Stocks            = stocks
	Categories        = categories
	Collections       = collections
	Members           = members
	ListedCollections = listedCollections
	Listed            = listed
	Movements         = movements
	Prices            = prices
)

// The rows that carry more than what they are.
type (
	Member           = member
	ListedCollection = listedCollection
	ListedProduct    = listedProduct
	StockOf          = stockOf
)
