package postgres

import "reflect"

// SplitColumns is splitColumns.
var SplitColumns = splitColumns

// StoreArray stores a value in a list of the type of field that into points to, as TableOf would.
func StoreArray(into any, raw []byte) error {
	f := reflect.ValueOf(into).Elem()
	if f.Type().Elem().Kind() == reflect.String {
		return storeArray(storeText)(f, raw)
	}
	return storeArray(storeUUID)(f, raw)
}
